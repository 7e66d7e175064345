package registry

import (
	"hash/maphash"

	"github.com/aegisx/pushd/internal/address"
)

// index finds topics by their targets. It keeps hashes, and not the targets
// that the topics hold anyway: that halves its memory and hides it from the
// garbage collector.
type index struct {
	seed   maphash.Seed
	byHash map[uint64]uint32
	// collided holds the targets whose hash was taken by another when they
	// came. There are practically none.
	collided map[address.Target]uint32
}

func newIndex() index {
	return index{
		seed:     maphash.MakeSeed(),
		byHash:   make(map[uint64]uint32),
		collided: make(map[address.Target]uint32),
	}
}

func (x *index) hash(t address.Target) uint64 { return maphash.Comparable(x.seed, t) }

// find returns the topic of t, whose hash is h; 0 if there is none.
func (x *index) find(topics *slab[topic], t address.Target, h uint64) uint32 {
	if id := x.byHash[h]; id != 0 && topics.at(id).target == t {
		return id
	}
	if len(x.collided) == 0 {
		return 0
	}
	return x.collided[t]
}

// put records that t, whose hash is h and which is not known, is topic id.
func (x *index) put(t address.Target, h uint64, id uint32) {
	if x.byHash[h] == 0 {
		x.byHash[h] = id
	} else {
		x.collided[t] = id
	}
}

// remove forgets t, whose hash is h and which is topic id.
func (x *index) remove(t address.Target, h uint64, id uint32) {
	if x.byHash[h] == id {
		delete(x.byHash, h)
	} else {
		delete(x.collided, t)
	}
}

// size returns how many targets are known.
func (x *index) size() int { return len(x.byHash) + len(x.collided) }
