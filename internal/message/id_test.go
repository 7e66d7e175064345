package message_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/message"
)

func TestIDText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		id         message.ID
	}{
		{"zero", "00000000000000000000000000", message.ID{}},
		{"one", "00000000000000000000000001", message.ID{15: 1}},
		{"first bit", "40000000000000000000000000", message.ID{0: 0x80}},
		{"all ones", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", message.ID{
			255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
		}},
		{"sample of the specification", "01ARZ3NDEKTSV4RRFFQ69G5FAV", message.ID{
			0x01, 0x56, 0x3e, 0x3a, 0xb5, 0xd3, 0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.id.String(); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
			got, err := message.ParseID(c.text)
			if err != nil || got != c.id {
				t.Errorf("parsed %v, %v", got, err)
			}
			if got.IsZero() != (c.name == "zero") {
				t.Errorf("zero: %v", got.IsZero())
			}
		})
	}
}

func TestParseIDIsStrict(t *testing.T) {
	const good = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	if _, err := message.ParseID(good); err != nil {
		t.Fatalf("%q: %v", good, err)
	}
	for name, bad := range map[string]string{
		"empty":               "",
		"short":               good[:25],
		"long":                good + "0",
		"blank in front":      " " + good[:25],
		"blank behind":        good[:25] + " ",
		"letter I":            good[:25] + "I",
		"letter L":            good[:25] + "L",
		"letter O":            good[:25] + "O",
		"letter U":            good[:25] + "U",
		"hyphen":              good[:25] + "-",
		"NUL":                 good[:25] + "\x00",
		"beyond ASCII":        good[:25] + "\xff",
		"two-byte character":  good[:24] + "é",
		"over 128 bits":       "8" + good[1:],
		"far over 128 bits":   strings.Repeat("Z", 26),
		"a UUID":              "123e4567-e89b-12d3-a456-426614174000",
		"line break and more": good[:24] + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			id, err := message.ParseID(bad)
			if err == nil || !id.IsZero() {
				t.Fatalf("%q was read as %v", bad, id)
			}
			if bad != "" && strings.Contains(err.Error(), bad) {
				t.Errorf("%v quotes the text", err)
			}
		})
	}
}

// TestIDsFollowTime: both forms sort by the millisecond they were made in.
func TestIDsFollowTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := message.NewID()
		for range 1000 {
			<-time.After(time.Millisecond)
			next := message.NewID()
			if next.String() <= last.String() || string(next[:]) <= string(last[:]) {
				t.Fatalf("%v came after %v", next, last)
			}
			last = next
		}
	})
}

func TestIDHoldsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Hour + 234*time.Millisecond)
		id := message.NewID()
		var ms int64
		for _, b := range id[:6] {
			ms = ms<<8 | int64(b)
		}
		if want := time.Now().UnixMilli(); ms != want {
			t.Errorf("time %d, want %d", ms, want)
		}
	})
}

// TestIDsAreUnique: the clock of a bubble stands still, so only the random
// part tells these apart.
func TestIDsAreUnique(t *testing.T) {
	const makers, each = 8, 2000
	synctest.Test(t, func(t *testing.T) {
		made := make([][]message.ID, makers)
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() {
				for range each {
					made[i] = append(made[i], message.NewID())
				}
			})
		}
		wg.Wait()
		seen := make(map[message.ID]bool)
		for _, ids := range made {
			for _, id := range ids {
				if id.IsZero() || seen[id] {
					t.Fatalf("%v came twice", id)
				}
				seen[id] = true
			}
		}
		if len(seen) != makers*each {
			t.Errorf("%d ids", len(seen))
		}
	})
}

// FuzzParseID: an id has one text of 26 characters, but for the case.
func FuzzParseID(f *testing.F) {
	f.Add("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	f.Add("01arz3ndektsv4rrffq69g5fav")
	f.Add("80000000000000000000000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := message.ParseID(s)
		if err != nil {
			if !id.IsZero() {
				t.Fatalf("refused, and is %v", id)
			}
			return
		}
		if id.String() != strings.ToUpper(s) {
			t.Fatalf("read as %v", id)
		}
	})
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if message.NewID().IsZero() {
			b.Fatal("zero")
		}
	}
}

func TestIDTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(1234567 * time.Microsecond)
		if got, want := message.NewID().Time(), time.Now().Truncate(time.Millisecond); !got.Equal(want) {
			t.Errorf("made at %s, want %s", got, want)
		}
	})
}
