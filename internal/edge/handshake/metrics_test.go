package handshake_test

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// counts returns the counters of reg by name, and by reason where there is
// one.
func counts(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	return got
}

// TestMetrics: each handshake is counted once, by how it ended.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHandshaker(t, handshake.Options{Registerer: reg, AllowOrigins: []string{"https://example.com"}})

	const rejected = "pushd_handshake_rejected_total/"
	want := map[string]float64{
		"pushd_handshake_upgraded_total": 0, "pushd_handshake_passed_total": 0, "pushd_handshake_aborted_total": 0,
	}
	for _, r := range handshake.Reasons() {
		want[rejected+string(r)] = 0
	}
	expect := func() {
		t.Helper()
		if got := counts(t, reg); !maps.Equal(got, want) {
			t.Errorf("counts %v, want %v", got, want)
		}
	}
	expect() // all are there from the start

	expectUpgrade(t, h, tokenHead().String())
	want["pushd_handshake_upgraded_total"]++
	expect()
	judge(t, h, newScript("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	want["pushd_handshake_passed_total"]++
	expect()
	judge(t, h, newScript("GET / HT"))
	want["pushd_handshake_aborted_total"]++
	expect()
	for _, c := range refusals() {
		if c.opts != nil || c.timeout {
			continue
		}
		expectRefusal(t, h, c.head, c.reason)
		want[rejected+string(c.reason)]++
	}
	expect()
	for name := range counts(t, reg) {
		checkSilent(t, name)
	}
}
