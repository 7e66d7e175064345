package edge

import "time"

const (
	// tick is the grain of all timers of a loop.
	tick = time.Second
	// wheelTicks is how far the wheel reaches; what is due later looks again
	// when it comes round.
	wheelTicks = 64
)

// wheel is a hashed timing wheel: it names the slots whose timers are due,
// without a timer per connection. It is owned by a loop. A slot may be named
// for a timer that was moved since, or for a connection that is gone: whoever
// is told checks.
type wheel struct {
	// now is the last tick that was looked at.
	now     uint32
	buckets [wheelTicks][]uint32
}

// add names slot at the tick at or after the time at, which counts from the
// start of the hub, but not before the next tick and not beyond the wheel. It
// returns that tick.
func (w *wheel) add(slot uint32, at time.Duration) uint32 {
	due := uint32(max(0, at+tick-1) / tick) //nolint:gosec // 136 years of ticks fit.
	due = min(max(due, w.now+1), w.now+wheelTicks-1)
	bucket := &w.buckets[due%wheelTicks]
	*bucket = append(*bucket, slot)
	return due
}

// advance goes on to the time at and calls f for each slot that was named on
// the way. f may add.
func (w *wheel) advance(at time.Duration, f func(slot, due uint32)) {
	for last := uint32(at / tick); w.now < last; { //nolint:gosec // As in add.
		w.now++
		// Nothing can be added to this bucket before the wheel has turned.
		bucket := &w.buckets[w.now%wheelTicks]
		for _, slot := range *bucket {
			f(slot, w.now)
		}
		*bucket = (*bucket)[:0]
		if cap(*bucket) > maxKeptBucket {
			*bucket = nil
		}
	}
}

// maxKeptBucket is how many places an empty bucket keeps.
const maxKeptBucket = 1024
