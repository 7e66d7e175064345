package bench

import (
	"sync/atomic"
	"time"
)

// tally counts what arrives of the messages of one phase. Safe for concurrent
// use.
type tally struct {
	// receivers is how many connections each message is for.
	receivers int64
	// slots holds the messages in flight: message n is in slot n mod len. With
	// a slot for each message of the phase none is used twice.
	slots []slot

	latency    histogram
	deliveries atomic.Int64
	complete   atomic.Int64 // messages that reached all receivers
	surplus    atomic.Int64 // deliveries of messages that were complete
}

type slot struct {
	got atomic.Int64
	// done gets a value when the message has reached all receivers. Nil: nobody
	// waits.
	done chan struct{}
}

// newTally makes a tally with slots for so many messages at once. With waited,
// slots are waited for and used again.
func newTally(receivers, slots int, waited bool) *tally {
	t := &tally{receivers: int64(receivers), slots: make([]slot, slots)}
	if waited {
		for i := range t.slots {
			t.slots[i].done = make(chan struct{}, 1)
		}
	}
	return t
}

// message counts one delivery at a time of a message that was due.
func (t *tally) message(seq uint64, due, at time.Duration) {
	t.latency.record(at - due)
	t.deliveries.Add(1)
	s := &t.slots[seq%uint64(len(t.slots))]
	switch got := s.got.Add(1); {
	case got < t.receivers:
	case got > t.receivers:
		t.surplus.Add(1)
	default:
		t.complete.Add(1)
		if s.done == nil {
			return
		}
		s.got.Store(0)
		select {
		case s.done <- struct{}{}:
		default: // a second copy, before anybody asked for the first
			t.surplus.Add(1)
		}
	}
}
