package history_test

import (
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
)

func TestParseLimit(t *testing.T) {
	good := map[string]history.Limit{
		"100/24h": {Messages: 100, Age: 24 * time.Hour},
		"1/1s":    {Messages: 1, Age: time.Second},
		"off":     {},
	}
	for text, want := range good {
		got, err := history.ParseLimit(text)
		if err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %v, %v; want %v", text, got, err, want)
		}
		again, err := history.ParseLimit(got.String())
		if err != nil || again != got {
			t.Errorf("%q does not come back from %q", text, got)
		}
	}
	for _, text := range []string{"", "100", "/", "100/", "/24h", "0/24h", "-1/24h", "+1/24h", "01/24h", "10001/24h", "1/999ms", "1/721h", "1/24", "1 /24h", "OFF", "1/2/3"} {
		if got, err := history.ParseLimit(text); err == nil {
			t.Errorf("ParseLimit(%q) = %v, want an error", text, got)
		}
	}
}

func TestRules(t *testing.T) {
	small, large := history.Limit{Messages: 1, Age: time.Second}, history.Limit{Messages: 9, Age: time.Hour}
	acme, other := tenant(t, "acme"), tenant(t, "other")
	rules := history.Rules{
		Channels:    []history.Rule{{pattern(t, "tenant:*:log"), small}, {pattern(t, "tenant:**"), large}, {pattern(t, "quiet"), history.Limit{}}},
		Inbox:       history.DefaultLimit(),
		TenantInbox: map[address.TenantID]history.Limit{other: {}},
	}
	for want, targets := range map[history.Limit][]address.Target{
		small:                  {channel(t, acme, "tenant:acme:log")},
		large:                  {channel(t, acme, "tenant:acme:logs")},
		history.DefaultLimit(): {user(t, acme, "u")},
		{}:                     {user(t, other, "u"), channel(t, acme, "quiet"), channel(t, acme, "room"), address.AllTarget(), {}},
	} {
		for _, target := range targets {
			if got := rules.For(target); got != want {
				t.Errorf("For(%v) = %v, want %v", target, got, want)
			}
		}
	}
	if got, want := rules.Largest(), (history.Limit{Messages: 100, Age: 24 * time.Hour}); got != want {
		t.Errorf("Largest = %v, want %v", got, want)
	}
	same := rules
	if rules.Hash() != same.Hash() {
		t.Error("equal rules have different hashes")
	}
	same.Channels = rules.Channels[:2]
	if rules.Hash() == same.Hash() {
		t.Error("different rules have the same hash")
	}
}

func TestOffsets(t *testing.T) {
	for _, n := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
		got, err := history.ParseOffset(history.FormatOffset(n))
		if err != nil || got != n {
			t.Errorf("offset %d came back as %d, %v", n, got, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", "01", "1 ", "18446744073709551616", "1e3", "0x1"} {
		if n, err := history.ParseOffset(s); err == nil {
			t.Errorf("ParseOffset(%q) = %d, want an error", s, n)
		}
	}
}

func tenant(t *testing.T, s string) address.TenantID {
	t.Helper()
	id, err := address.ParseTenantID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func pattern(t *testing.T, s string) address.Pattern {
	t.Helper()
	p, err := address.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func channel(t *testing.T, id address.TenantID, s string) address.Target {
	t.Helper()
	c, err := address.ParseChannel(s)
	if err != nil {
		t.Fatal(err)
	}
	target, err := address.ChannelTarget(id, c)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func user(t *testing.T, id address.TenantID, s string) address.Target {
	t.Helper()
	u, err := address.ParseUserID(s)
	if err != nil {
		t.Fatal(err)
	}
	target, err := address.UserTarget(id, u)
	if err != nil {
		t.Fatal(err)
	}
	return target
}
