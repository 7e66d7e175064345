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
	// roots is what a collection scans beside the heap.
	roots uint64
}

// readHeap returns a function that asks the runtime.
func readHeap() func() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/scan/stack:bytes"},
		{Name: "/gc/scan/globals:bytes"},
	}
	return func() heap {
		metrics.Read(samples)
		var values [6]uint64
		for i, s := range samples {
			if s.Value.Kind() == metrics.KindUint64 {
				values[i] = s.Value.Uint64()
			}
		}
		return heap{allocated: values[0], live: values[1], objects: values[2], free: values[3], roots: values[4] + values[5]}
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

// heapActs are what watchHeap does. They may take as long as a collection.
type heapActs struct {
	// tidy collects and gives what is free back to the system.
	tidy func()
	// pace sets by how many percent the heap may grow before it is collected.
	pace func(percent int)
}

// tendHeap sees to it that the heap is collected no more often than is good for
// it, and once when the node comes to rest, until ctx ends. The runtime collects
// when the heap has doubled: with little that is live this is too often, and
// with idle clients it may take for ever, so that what a rush of connects leaves
// behind would stay.
func tendHeap(ctx context.Context) {
	acts := heapActs{tidy: debug.FreeOSMemory, pace: func(percent int) { debug.SetGCPercent(percent) }}
	watchHeap(ctx, readHeap(), collections(ctx), newPacer(debug.SetMemoryLimit(-1)), acts)
}

// watchHeap looks at the heap after each collection, to set the pace, and once
// each heapCheck, to tidy where that is worth it, until ctx ends.
func watchHeap(ctx context.Context, read func() heap, collected <-chan struct{}, p *pacer, acts heapActs) {
	ticker := time.NewTicker(heapCheck)
	defer ticker.Stop()
	defer acts.pace(usualGOGC)
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			if percent, changed := p.percent(read(), time.Now()); changed {
				acts.pace(percent)
			}
		case <-ticker.C:
			if r.worthTidying(read(), time.Now()) {
				acts.tidy()
			}
		}
	}
}
