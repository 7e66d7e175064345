package main

import (
	"context"
	"math"
	"runtime"
	"slices"
	"time"
)

const (
	// freshBytes is what may come to the heap between two collections of a node in
	// a hurry, however little of it is live. Twice as much saves no more.
	freshBytes = 32 << 20
	// freshShare bounds that as a share of GOMEMLIMIT. So far below the steps of
	// the defence against full memory it makes no difference to them how old the
	// last reading is.
	freshShare = 1.0 / 8
	// leastHeap is what counts as live at least. The runtime's least heap, which
	// is as large, grows with the percentage.
	leastHeap = 4 << 20
	// usualGOGC is the runtime's own pace: it collects when the heap has doubled.
	usualGOGC = 100
	// hurryPause is the time between two collections at the runtime's own pace up
	// to which a node is in a hurry.
	hurryPause = 250 * time.Millisecond
	// steadyCycles is for how many collections what is live must have grown by no
	// more than steadyShare. In a rush of connects it grows by more; with much
	// garbage between them, what stays would be strewn over more pages.
	steadyCycles = 4
	steadyShare  = 1.0 / 4
)

// pacer says by how many percent the heap may grow before it is collected. The
// zero pacer is not ready.
type pacer struct {
	fresh uint64 // bytes
	last  int    // answer

	// Of the last collection, and of the last ones.
	at        time.Time
	allocated uint64
	live      [steadyCycles]uint64
}

// newPacer takes the limit that the runtime keeps to, in bytes; math.MaxInt64
// when there is none.
func newPacer(limit int64) *pacer {
	return &pacer{fresh: uint64(min(freshBytes, freshShare*float64(limit))), last: usualGOGC}
}

// percent is told of the heap after a collection. changed says that it differs
// by enough from the last answer to trouble the runtime.
func (p *pacer) percent(h heap, now time.Time) (percent int, changed bool) {
	live := max(h.live+h.roots, leastHeap)
	percent = usualGOGC
	if p.inHurry(live, h.allocated, now) {
		percent = max(percent, int(p.fresh*100/live)) //nolint:gosec // It is small.
	}
	if math.Abs(float64(percent-p.last)) <= float64(p.last)/8 && percent != usualGOGC {
		return p.last, false
	}
	changed = percent != p.last
	p.last = percent
	return percent, changed
}

// inHurry notes a collection and reports whether the runtime would collect often
// at its own pace, though nothing much stays.
func (p *pacer) inHurry(live, allocated uint64, now time.Time) bool {
	came, took, least := allocated-p.allocated, now.Sub(p.at), slices.Min(p.live[:])
	p.at, p.allocated = now, allocated
	copy(p.live[:], p.live[1:])
	p.live[steadyCycles-1] = live
	often := float64(came)*hurryPause.Seconds() >= float64(live)*took.Seconds()
	return often && float64(live) <= float64(least)*(1+steadyShare)
}

// collections returns a channel that has a value when the heap was collected
// since the last one was taken, until ctx ends.
func collections(ctx context.Context) <-chan struct{} {
	collected := make(chan struct{}, 1)
	var arm func()
	arm = func() {
		if ctx.Err() != nil {
			return
		}
		// Nothing points to it, so the next collection finds it.
		runtime.AddCleanup(new(*int), func(struct{}) {
			select {
			case collected <- struct{}{}:
			default:
			}
			arm()
		}, struct{}{})
	}
	arm()
	return collected
}
