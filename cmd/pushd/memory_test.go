package main

import (
	"runtime"
	"testing"
)

func TestWorthTidying(t *testing.T) {
	const mb = 1 << 20
	before := heap{allocated: 500 * mb, live: 64 * mb, objects: 64 * mb}
	for name, c := range map[string]struct {
		now  heap
		want bool
	}{
		"garbage":             {heap{500 * mb, 64 * mb, 80 * mb, 0}, true},
		"free memory":         {heap{500 * mb, 64 * mb, 64 * mb, 16 * mb}, true},
		"both together":       {heap{500 * mb, 64 * mb, 72 * mb, 8 * mb}, true},
		"too little":          {heap{500 * mb, 64 * mb, 72 * mb, 8*mb - 1}, false},
		"nearly at rest":      {heap{500*mb + mb/2, 64 * mb, 80 * mb, 0}, true},
		"at work":             {heap{500*mb + mb/2 + 1, 64 * mb, 120 * mb, 0}, false},
		"a small heap":        {heap{500 * mb, 2 * mb, 3 * mb, 0}, true},
		"little on a small":   {heap{500 * mb, 2 * mb, 3*mb - 1, 0}, false},
		"no objects know yet": {heap{500 * mb, 64 * mb, 60 * mb, 0}, false},
	} {
		r := rest{}
		if r.worthTidying(before) {
			t.Errorf("%s: tidied before anything is known", name)
		}
		if got := r.worthTidying(c.now); got != c.want {
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
	for range checks {
		if r.worthTidying(h) {
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

func TestReadHeap(t *testing.T) {
	runtime.GC()
	h := readHeap()()
	if h.live == 0 || h.objects == 0 || h.allocated < h.live {
		t.Errorf("got %+v", h)
	}
}
