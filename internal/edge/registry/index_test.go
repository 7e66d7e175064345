package registry

import (
	"testing"

	"github.com/aegisx/pushd/internal/address"
)

// TestIndexCollisions gives three targets one hash, and takes them out in
// every order.
func TestIndexCollisions(t *testing.T) {
	const h = 42
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		x := newIndex()
		var topics slab[topic]
		var ids [3]uint32
		all := [3]address.Target{publicChannel(t, "a"), publicChannel(t, "b"), publicChannel(t, "c")}
		check := func(known map[int]bool) {
			t.Helper()
			for i, target := range all {
				want := uint32(0)
				if known[i] {
					want = ids[i]
				}
				if got := x.find(&topics, target, h); got != want {
					t.Fatalf("order %v, target %d: got topic %d, want %d", order, i, got, want)
				}
			}
			if x.size() != len(known) {
				t.Fatalf("order %v: size %d, want %d", order, x.size(), len(known))
			}
		}
		known := map[int]bool{}
		add := func(i int) {
			ids[i] = topics.take()
			topics.at(ids[i]).target = all[i]
			x.put(all[i], h, ids[i])
			known[i] = true
		}
		for i := range all {
			add(i)
			check(known)
		}
		for turn, i := range order {
			x.remove(all[i], h, ids[i])
			*topics.at(ids[i]) = topic{}
			topics.give(ids[i])
			delete(known, i)
			check(known)
			if turn == 0 { // the place may be free while others collided
				add(i)
				check(known)
				x.remove(all[i], h, ids[i])
				delete(known, i)
				check(known)
			}
		}
	}
}
