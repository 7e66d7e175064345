package main

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hurried returns a pacer that has seen a node in a hurry with so much live, and
// the heap and the time of its last collection.
func hurried(limit int64, live uint64) (*pacer, heap, time.Time) {
	p, h, now := newPacer(limit), heap{live: live}, time.Now()
	for range 2 * steadyCycles {
		h.allocated += live + leastHeap
		now = now.Add(hurryPause)
		p.percent(h, now)
	}
	return p, h, now
}

func TestPacerPercent(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		limit int64
		live  uint64
		want  int
	}{
		"little is live":          {math.MaxInt64, 8 * mb, 400},
		"hardly anything is live": {math.MaxInt64, 1 * mb, 800},
		"enough is live":          {math.MaxInt64, 32 * mb, 100},
		"much is live":            {math.MaxInt64, 1000 * mb, 100},
		"a roomy limit":           {1 << 30, 8 * mb, 400},
		"a tight limit":           {128 * mb, 8 * mb, 200},
		"a tiny limit":            {32 * mb, 8 * mb, 100},
	} {
		if p, _, _ := hurried(c.limit, c.live); p.last != c.want {
			t.Errorf("%s: got %d, want %d", name, p.last, c.want)
		}
	}
}

// TestPacerWhen: only a node that collects often, and on which no more and more
// is live, gets another pace than the runtime's own.
func TestPacerWhen(t *testing.T) {
	const mb = 1 << 20
	for name, c := range map[string]struct {
		came, live uint64
		took       time.Duration
		want       int
	}{
		"a hurry":             {8 * mb, 8 * mb, hurryPause, 400},
		"at the new pace":     {32 * mb, 8 * mb, 4 * hurryPause, 400},
		"not so often":        {8*mb - 1, 8 * mb, hurryPause, 100},
		"rest":                {8 * mb, 8 * mb, time.Hour, 100},
		"a little more stays": {10 * mb, 10 * mb, hurryPause, 320},
		"more stays":          {11 * mb, 10*mb + 1, hurryPause, 100},
		"less stays":          {8 * mb, 4 * mb, hurryPause, 800},
	} {
		p, h, now := hurried(math.MaxInt64, 8*mb)
		h.allocated += c.came
		h.live = c.live
		if got, _ := p.percent(h, now.Add(c.took)); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// TestPacerInARush: while clients connect, each collection finds more.
func TestPacerInARush(t *testing.T) {
	p, h, now := newPacer(math.MaxInt64), heap{live: leastHeap}, time.Now()
	for range 20 {
		h.allocated += h.live
		h.live += h.live / 12
		now = now.Add(hurryPause / 10)
		if percent, _ := p.percent(h, now); percent != usualGOGC {
			t.Fatalf("with %d live the heap may grow by %d %%", h.live, percent)
		}
	}
}

// TestPacerKeepsBounds: whatever is live, no more than fresh comes to the heap
// between two collections, give or take an eighth, unless as much is live.
func TestPacerKeepsBounds(t *testing.T) {
	p, h, now := hurried(math.MaxInt64, 1<<16)
	for ; h.live < 1<<30; h.live += h.live / 32 {
		h.allocated += h.live + leastHeap
		now = now.Add(hurryPause)
		percent, _ := p.percent(h, now)
		grows := h.live * uint64(percent) / 100
		if most := max(h.live, freshBytes+freshBytes/7); grows > most {
			t.Errorf("with %d live, %d %% are %d, more than %d", h.live, percent, grows, most)
		}
		if least := uint64(freshBytes - freshBytes/8); h.live >= leastHeap && grows < least {
			t.Errorf("with %d live, %d %% are %d, less than %d", h.live, percent, grows, least)
		}
	}
}

// TestPacerLeavesRoomForTheDefence: what comes between two collections takes no
// node from an easy life to a step of the defence against full memory, unless the
// runtime's own pace does.
func TestPacerLeavesRoomForTheDefence(t *testing.T) {
	const firstStep = 0.70
	for _, limit := range []int64{16 << 20, 64 << 20, 256 << 20, 4 << 30} {
		for live := uint64(1 << 20); live < uint64(limit)/2; live += live / 16 {
			p, _, _ := hurried(limit, live)
			most := float64(live) + float64(live)*float64(p.last)/100
			if p.last != usualGOGC && most > firstStep*float64(limit) {
				t.Errorf("of %d bytes %d are live, and %d %% make it %.0f", limit, live, p.last, most)
			}
		}
	}
}

// TestPaceFollowsTheHeap: the runtime is told after the collections that change
// something, and gets its own pace back in the end.
func TestPaceFollowsTheHeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mb = 1 << 20
		collected := make(chan struct{})
		var h atomic.Pointer[heap]
		h.Store(&heap{allocated: 1})
		var paces []int
		acts := heapActs{tidy: func() {}, pace: func(percent int) { paces = append(paces, percent) }}
		ctx, cancel := context.WithCancel(t.Context())
		var watcher sync.WaitGroup
		watcher.Go(func() {
			watchHeap(ctx, func() heap { return *h.Load() }, collected, newPacer(math.MaxInt64), acts)
		})
		for _, live := range []uint64{8, 8, 8, 8, 8, 9, 4, 16, 16, 16, 16, 16} {
			<-time.After(hurryPause)
			h.Store(&heap{allocated: h.Load().allocated + 32*mb, live: live * mb})
			collected <- struct{}{}
			synctest.Wait()
		}
		cancel()
		watcher.Wait()
		if want := []int{400, 800, 100, 200, 100}; !slices.Equal(paces, want) {
			t.Errorf("paces are %v, want %v", paces, want)
		}
	})
}

func TestCollections(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	collected := collections(ctx)
	for range 3 {
		runtime.GC() // It sweeps, too.
		select {
		case <-collected:
		case <-ctx.Done():
			t.Fatal("nothing tells of a collection")
		}
	}
}

func TestSetsGOGC(t *testing.T) {
	for name, c := range map[string]struct {
		env  variables
		want bool
	}{
		"not set": {nil, false},
		"empty":   {variables{"GOGC": ""}, false}, // The runtime's rule too.
		"a value": {variables{"GOGC": "100"}, true},
		"off":     {variables{"GOGC": "off"}, true},
	} {
		if got := setsGOGC(c.env.lookup); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
