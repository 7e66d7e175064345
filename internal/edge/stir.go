package edge

import (
	"math/bits"
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// stirs are the loops into whose inboxes something was put, to be seen to once
// no lock is held.
type stirs struct {
	// loops is a bit mask, idle the part of it where nothing else waited.
	loops, idle uint64
	// linger is how long what was put may wait.
	linger time.Duration
}

// add counts loop i in, where so many waited before.
func (s *stirs) add(i, waited int) {
	bit := uint64(1) << uint(i)
	if waited == 0 {
		s.idle |= bit
	}
	s.loops |= bit
}

// join counts in what o says.
func (s *stirs) join(o stirs) {
	s.loops |= o.loops
	s.idle |= o.idle
}

// stir sees to it that what was put for t is delivered. The caller holds no
// lock.
func (h *Hub) stir(t address.Target, s stirs) {
	for mask := s.loops; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		h.loops[i].stir(t, s.idle&(1<<uint(i)) != 0, s.linger)
	}
}

// wake is stir for a caller that holds locks: the loops do the work.
func (h *Hub) wake(s stirs) {
	for mask := s.loops; mask != 0; mask &= mask - 1 {
		h.loops[bits.TrailingZeros64(mask)].wake()
	}
}
