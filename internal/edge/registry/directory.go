package registry

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/aegisx/pushd/internal/address"
)

// parts is how many locks a directory has, so that publishers seldom meet.
const parts = 64

// Directory tells which loops hold members of a target. It may be used
// concurrently. Loops are numbered 0 to 63; calls for other numbers do
// nothing.
//
// It keeps fingerprints of the targets instead of the targets, which halves it.
type Directory struct {
	// set once
	seeds [2]maphash.Seed
	parts [parts]part

	tenants, users, channels atomic.Int64
}

// part is the directory's share of the targets.
type part struct {
	mu    sync.RWMutex
	loops map[fingerprint]uint64
	_     [96]byte // two parts never share a cache line
}

// fingerprint stands for a target: two hashes of it, whose seeds nobody knows.
// That two targets of a node share one takes some 2^64 of them.
type fingerprint [2]uint64

// NewDirectory makes an empty directory.
func NewDirectory() *Directory {
	d := &Directory{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for i := range d.parts {
		d.parts[i].loops = make(map[fingerprint]uint64)
	}
	return d
}

// Add records that loop has members of t. Adding it again changes nothing.
func (d *Directory) Add(t address.Target, loop int) {
	f := d.fingerprint(t)
	p := d.part(f)
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.loops[f]
	after := before | bit(loop)
	if after == before {
		return
	}
	p.loops[f] = after
	if before == 0 {
		d.count(t.Kind(), 1)
	}
}

// Remove records that loop has no members of t any more.
func (d *Directory) Remove(t address.Target, loop int) {
	f := d.fingerprint(t)
	p := d.part(f)
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.loops[f]
	after := before &^ bit(loop)
	switch after {
	case before:
	case 0:
		delete(p.loops, f)
		d.count(t.Kind(), -1)
	default:
		p.loops[f] = after
	}
}

// Loops returns the loops that have members of t, as a bit mask: bit i is
// loop i.
func (d *Directory) Loops(t address.Target) uint64 {
	f := d.fingerprint(t)
	p := d.part(f)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.loops[f]
}

// Counts returns how many tenants, users and channels have members. While
// others change the directory, the three need not be of one instant.
func (d *Directory) Counts() (tenants, users, channels int) {
	return int(d.tenants.Load()), int(d.users.Load()), int(d.channels.Load())
}

func (d *Directory) fingerprint(t address.Target) fingerprint {
	return fingerprint{maphash.Comparable(d.seeds[0], t), maphash.Comparable(d.seeds[1], t)}
}

func (d *Directory) part(f fingerprint) *part { return &d.parts[f[0]%parts] }

func (d *Directory) count(kind address.Kind, n int64) {
	switch kind {
	case address.KindTenant:
		d.tenants.Add(n)
	case address.KindUser:
		d.users.Add(n)
	case address.KindChannel:
		d.channels.Add(n)
	}
}

func bit(loop int) uint64 {
	if loop < 0 {
		return 0
	}
	return 1 << uint(loop)
}
