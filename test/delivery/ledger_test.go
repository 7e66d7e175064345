package delivery_test

import (
	"strings"
	"testing"

	"github.com/aegisx/pushd/test/delivery"
)

// TestLedger: each fault is found, and what is right is not called one.
func TestLedger(t *testing.T) {
	f := delivery.Feed{Tenant: "acme", Channel: "room"}
	foreign := delivery.Feed{Tenant: "other", Channel: "room"}
	accepted := []uint64{3, 4, 9, 12} // of messages 1 to 4
	for _, c := range []struct {
		name string
		see  func(*delivery.Track)
		want string // part of the first fault; empty: none
	}{
		{"all", func(t *delivery.Track) { t.Message(f, 2, 4); t.Message(f, 3, 9); t.Message(f, 4, 12) }, ""},
		{"a gap", func(t *delivery.Track) { t.Gap(3, 9); t.Message(f, 4, 12) }, ""},
		{"a gap at the end", func(t *delivery.Track) { t.Message(f, 2, 4); t.Gap(4, 12) }, ""},
		{"what a gap left out comes after all", func(t *delivery.Track) { t.Gap(3, 5); t.Message(f, 3, 9); t.Message(f, 4, 12) }, ""},
		{"the first is lost", func(t *delivery.Track) { t.Message(f, 3, 9); t.Message(f, 4, 12) }, "lost: message 2 "},
		{"the last is lost", func(t *delivery.Track) { t.Message(f, 2, 4); t.Message(f, 3, 9) }, "lost: message 4 "},
		{"lost beside a gap", func(t *delivery.Track) { t.Gap(3, 4); t.Message(f, 4, 12) }, "lost: message 3 "},
		{"twice", func(t *delivery.Track) { t.Message(f, 2, 4); t.Message(f, 2, 4) }, "duplicated"},
		{"swapped", func(t *delivery.Track) { t.Message(f, 3, 9); t.Message(f, 2, 4) }, "reordered"},
		{"foreign", func(t *delivery.Track) { t.Message(foreign, 2, 4) }, "foreign"},
		{"another offset", func(t *delivery.Track) {
			t.Message(f, 2, 5)
			t.Message(f, 3, 9)
			t.Message(f, 4, 12)
		}, "lost: message 2 "},
		{"an offset that went back", func(t *delivery.Track) { t.Message(f, 2, 4); t.Message(f, 3, 1) }, "reordered"},
		{"the offset of another", func(t *delivery.Track) { t.Message(f, 2, 9) }, "lost: message 2 "},
		{"before the join", func(t *delivery.Track) { t.Message(f, 1, 3) }, "reordered"},
		{"early", func(t *delivery.Track) { t.Early(f, 2); t.Message(f, 3, 9); t.Message(f, 4, 12) }, ""},
		{"early and again", func(t *delivery.Track) {
			t.Early(f, 2)
			t.Message(f, 2, 4)
			t.Message(f, 3, 9)
			t.Message(f, 4, 12)
		}, "duplicated"},
		{"early on a connection that ended", func(t *delivery.Track) {
			t.Early(f, 2)
			t.Reconnect()
			t.Message(f, 2, 4)
			t.Message(f, 3, 9)
			t.Message(f, 4, 12)
		}, ""},
		{"early twice", func(t *delivery.Track) { t.Early(f, 2); t.Early(f, 2) }, "duplicated"},
		{"early and foreign", func(t *delivery.Track) { t.Early(foreign, 2) }, "foreign"},
		{"a gap ahead", func(t *delivery.Track) { t.Gap(8, 12) }, "a gap of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := delivery.NewLedger()
			for i, offset := range accepted {
				l.Accept(f, i+1, offset)
			}
			track := l.Track("client", f)
			track.Join(3)
			c.see(track)
			track.Finish()
			faults := l.Faults()
			switch {
			case c.want == "" && len(faults) > 0:
				t.Errorf("found %q", faults)
			case c.want != "" && (len(faults) == 0 || !strings.Contains(faults[0], c.want)):
				t.Errorf("found %q, want %q", faults, c.want)
			}
		})
	}
	t.Run("accepted out of order", func(t *testing.T) {
		l := delivery.NewLedger()
		l.Accept(f, 1, 5)
		l.Accept(f, 2, 4)
		if len(l.Faults()) == 0 {
			t.Error("not found")
		}
	})
	t.Run("accepted without an offset", func(t *testing.T) {
		l := delivery.NewLedger()
		l.Accept(f, 1, 0)
		if len(l.Faults()) == 0 {
			t.Error("not found")
		}
	})
}
