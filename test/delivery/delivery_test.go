package delivery_test

import (
	"testing"
	"time"

	"github.com/aegisx/pushd/test/delivery"
)

// inLong returns what the long run wants or what the short one does.
func inLong[T any](long, short T) T {
	if suite.long {
		return long
	}
	return short
}

// TestNothingIsLost: clients of five tenants come and go between three nodes,
// amid traffic to channels of the same names and to their inboxes. Each gets all
// that was accepted, once, in order; no gap is due.
func TestNothingIsLost(t *testing.T) {
	ctx := bounded(t, inLong(20*time.Minute, 5*time.Minute))
	s := &scene{
		nodes: startMesh(ctx, t, suite.binary, kept()...), ledger: delivery.NewLedger(),
		tenants: 5, channels: 4, clients: 12, publishers: 6, messages: inLong(240_000, 12_000),
	}
	r := s.play(ctx, t)
	t.Log(r)
	for _, fault := range s.ledger.Faults() {
		t.Error(fault)
	}
	if r.gaps > 0 && r.standstill < gapsAllowed {
		t.Errorf("%d gaps, where nothing was missing", r.gaps)
	}
	if r.accepted < s.messages {
		t.Errorf("%d messages were accepted of %d", r.accepted, s.messages)
	}
	if r.visits < 3*s.tenants*s.clients {
		t.Errorf("%d visits: hardly anybody came twice", r.visits)
	}
}
