package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapCheck is how often the heap is looked at.
	heapCheck = 500 * time.Millisecond
	// calmShare is the share of the live heap that a node at rest allocates in
	// a heapCheck, at most. tidyShare is the share that must be there to win. A
	// calm node takes tidyShare/calmShare checks for that, which is 16 s.
	calmShare = 1.0 / 128
	tidyShare = 1.0 / 4
	// tidyBytes must be there to win in any case.
	tidyBytes = 1 << 20
	// tidyPause is the least time from one tidying to the next. Without it a node
	// that has bursts shorter than a heapCheck would be tidied after each.
	tidyPause = 16 * time.Second
	// usualGOGC is the setting at which the heap is tidied: who has chosen
	// another knows better.
	usualGOGC = 100
)

// heap is what the runtime says of its memory, in bytes.
type heap struct {
	// allocated counts up from the start of the process.
	allocated uint64
	// live is what the last collection kept.
	live uint64
	// objects is that and all that came since.
	objects uint64
	// free is not in use, but has not been given back to the system either.
	free uint64
}

// readHeap returns a function that asks the runtime.
func readHeap() func() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	return func() heap {
		metrics.Read(samples)
		var values [4]uint64
		for i, s := range samples {
			if s.Value.Kind() == metrics.KindUint64 {
				values[i] = s.Value.Uint64()
			}
		}
		return heap{values[0], values[1], values[2], values[3]}
	}
}

// rest tells when a node has come to rest with memory that it does not need.
type rest struct {
	allocated uint64
	// tidied is when it was last worth it; zero: never.
	tidied time.Time
}

// worthTidying is told of the heap once each heapCheck. Until it has looked
// twice it cannot know. After a yes it says no for tidyPause.
func (r *rest) worthTidying(h heap, now time.Time) bool {
	came := h.allocated - r.allocated
	first := r.allocated == 0
	r.allocated = h.allocated
	if first || float64(came) > calmShare*float64(h.live) || now.Sub(r.tidied) < tidyPause {
		return false
	}
	idle := h.free + h.objects - min(h.live, h.objects)
	if float64(idle) < max(tidyBytes, tidyShare*float64(h.live)) {
		return false
	}
	r.tidied = now
	return true
}

// tidyAtRest gives memory back when the node comes to rest, until ctx ends. The
// runtime collects when the heap has doubled, which with idle clients may take
// for ever: what a rush of connects leaves behind would stay.
func tidyAtRest(ctx context.Context) {
	gogc := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	if metrics.Read(gogc); gogc[0].Value.Kind() != metrics.KindUint64 || gogc[0].Value.Uint64() != usualGOGC {
		return
	}
	watchHeap(ctx, readHeap(), debug.FreeOSMemory)
}

// watchHeap looks at the heap once each heapCheck, and tidies where that is
// worth it, until ctx ends.
func watchHeap(ctx context.Context, read func() heap, tidy func()) {
	ticker := time.NewTicker(heapCheck)
	defer ticker.Stop()
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if r.worthTidying(read(), time.Now()) {
			tidy()
		}
	}
}
