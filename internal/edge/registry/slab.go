package registry

const (
	chunkBits = 9
	// chunkLen is how many items are allocated at a time.
	chunkLen = 1 << chunkBits
)

// slab is a table of T that grows without moving what it holds. Its items are
// named by number; 0 is never given out and can stand for none. Items that
// were given back are used again first; the memory itself stays.
type slab[T any] struct {
	chunks []*[chunkLen]T
	free   []uint32
	// used is the highest number given out.
	used uint32
}

// at returns item i, which must be in reach.
func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>chunkBits][i%chunkLen] }

// has reports whether item i is in reach.
func (s *slab[T]) has(i uint32) bool { return int(i>>chunkBits) < len(s.chunks) }

// reach makes item i usable. It is zero if it is new.
func (s *slab[T]) reach(i uint32) {
	for !s.has(i) {
		s.chunks = append(s.chunks, new([chunkLen]T))
	}
}

// take gives out an item. It is as it was given back, or zero.
func (s *slab[T]) take() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		i := s.free[last]
		s.free = s.free[:last]
		return i
	}
	s.used++
	s.reach(s.used)
	return s.used
}

// give takes item i back.
func (s *slab[T]) give(i uint32) { s.free = append(s.free, i) }
