package delivery_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/delivery"
)

// TestKilledInABurst: one of three nodes is killed in the middle of a burst. Its
// clients resume on the others, and its publishers send again, with the same keys,
// what was not answered. Each client gets everything, in order and once, or is told
// of a gap.
func TestKilledInABurst(t *testing.T) {
	ctx := bounded(t, 5*time.Minute)
	mesh := startMesh(ctx, t, suite.binary, kept()...)
	s := &scene{
		nodes: mesh, ledger: delivery.NewLedger(),
		tenants: 3, channels: 3, clients: 8, publishers: 6, messages: 10_002,
		meanwhile: func() {
			victim := mesh[rand.IntN(len(mesh))]
			t.Logf("killing %s", victim.Name)
			if err := victim.Kill(); err != nil {
				t.Error(err)
			}
		},
	}
	r := s.play(ctx, t)
	t.Log(r)
	for _, fault := range s.ledger.Faults() {
		t.Error(fault)
	}
	if r.accepted != s.messages {
		t.Errorf("%d messages were accepted of %d", r.accepted, s.messages)
	}
	if r.skipped > 0 && r.standstill < gapsAllowed {
		t.Errorf("%d messages are in gaps, though the history has them", r.skipped)
	}
}
