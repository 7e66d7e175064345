package main

import (
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorthTidying(t *testing.T) {
	const mb = 1 << 20
	before := heap{allocated: 500 * mb, live: 64 * mb, objects: 64 * mb}
	for name, c := range map[string]struct {
		now  heap
		want bool
	}{
		"garbage":             {heap{500 * mb, 64 * mb, 80 * mb, 0, 0}, true},
		"free memory":         {heap{500 * mb, 64 * mb, 64 * mb, 16 * mb, 0}, true},
		"both together":       {heap{500 * mb, 64 * mb, 72 * mb, 8 * mb, 0}, true},
		"too little":          {heap{500 * mb, 64 * mb, 72 * mb, 8*mb - 1, 0}, false},
		"nearly at rest":      {heap{500*mb + mb/2, 64 * mb, 80 * mb, 0, 0}, true},
		"at work":             {heap{500*mb + mb/2 + 1, 64 * mb, 120 * mb, 0, 0}, false},
		"a small heap":        {heap{500 * mb, 2 * mb, 3 * mb, 0, 0}, true},
		"little on a small":   {heap{500 * mb, 2 * mb, 3*mb - 1, 0, 0}, false},
		"no objects know yet": {heap{500 * mb, 64 * mb, 60 * mb, 0, 0}, false},
	} {
		r := rest{}
		if r.worthTidying(before, time.Now()) {
			t.Errorf("%s: tidied before anything is known", name)
		}
		if got := r.worthTidying(c.now, time.Now()); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestRestIsSeldom: while a node allocates as much as it may at rest, it is
// tidied no more often than the constants say.
func TestRestIsSeldom(t *testing.T) {
	const live, checks = 64 << 20, 1000
	h := heap{allocated: 1, live: live, objects: live}
	r, tidied := rest{}, 0
	began := time.Now()
	for i := range checks {
		if r.worthTidying(h, began.Add(time.Duration(i)*heapCheck)) {
			tidied++
			h.objects = live
		}
		h.allocated += live / 128
		h.objects += live / 128
	}
	if most := checks * calmShare / tidyShare; tidied == 0 || float64(tidied) > most {
		t.Errorf("tidied %d times in %d checks, want at most %g", tidied, checks, most)
	}
}

// TestBurstsAreTidiedSeldom: a burst a second, shorter than a heapCheck, leaves
// enough behind each time, and half of the checks see a node at rest.
func TestBurstsAreTidiedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const live, took = 64 << 20, 5 * time.Minute
		h, checks := heap{allocated: 1, live: live, objects: live}, 0
		read := func() heap {
			if checks++; checks%2 == 0 {
				h.allocated += live / 2
				h.objects += live / 2
			}
			return h
		}
		var last time.Time
		tidied := 0
		tidy := func() {
			if pause := time.Since(last); pause < 16*time.Second {
				t.Errorf("tidied again after %s", pause)
			}
			h.objects = live
			last = time.Now()
			tidied++
		}
		ctx, cancel := context.WithTimeout(t.Context(), took)
		defer cancel()
		var watcher sync.WaitGroup
		acts := heapActs{tidy: tidy, pace: func(int) {}}
		watcher.Go(func() { watchHeap(ctx, read, nil, newPacer(math.MaxInt64), acts) })
		watcher.Wait()
		// With each 17th second, as a burst's end comes once a second.
		if least := int(took / (17 * time.Second)); tidied < least {
			t.Errorf("tidied %d times in %s, want at least %d", tidied, took, least)
		}
	})
}

func TestReadHeap(t *testing.T) {
	runtime.GC()
	h := readHeap()()
	if h.live == 0 || h.objects == 0 || h.allocated < h.live {
		t.Errorf("got %+v", h)
	}
}
