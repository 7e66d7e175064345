package edge

import (
	"sync"

	"github.com/aegisx/pushd/internal/address"
)

// feedReads are the feeds that wait to be read, by tenant. A feed is there once at
// most, and gets one page in its turn. Tenants take turns, too: the feeds of one,
// however many, don't stand before those of another.
type feedReads struct {
	mu     sync.Mutex
	places places
	queues map[address.TenantID][]*feed
	// turns are the tenants that have a queue, in the order of their turns.
	turns  []address.TenantID
	closed bool
}

// close lets nothing new begin.
func (r *feedReads) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.queues, r.turns = true, nil, nil
}

// addLocked has f wait; after close nothing waits any more.
func (r *feedReads) addLocked(f *feed) {
	if r.closed {
		return
	}
	if r.queues == nil {
		r.queues = make(map[address.TenantID][]*feed)
	}
	tenant := f.target.Tenant()
	if len(r.queues[tenant]) == 0 {
		r.turns = append(r.turns, tenant)
	}
	r.queues[tenant] = append(r.queues[tenant], f)
}

// nextLocked returns the feed to read next, which has a place then; nil: there is
// none, or no place for it.
func (r *feedReads) nextLocked() *feed {
	if r.places.full() {
		return nil
	}
	for range len(r.turns) {
		tenant := r.turns[0]
		r.turns = r.turns[1:]
		queue := r.queues[tenant]
		if !r.places.take(tenant) {
			r.turns = append(r.turns, tenant)
			continue
		}
		f := queue[0]
		queue[0] = nil
		if queue = queue[1:]; len(queue) > 0 {
			r.queues[tenant] = queue
			r.turns = append(r.turns, tenant)
		} else {
			delete(r.queues, tenant)
		}
		return f
	}
	return nil
}

// read sees to it that f is read soon.
func (t *feeds) read(f *feed) {
	r := &t.reads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(f)
	t.readNextLocked()
}

// readNextLocked starts as many reads as there are places for, each in a goroutine
// that ends with it and then starts what waits. The caller holds the mutex of
// reads.
func (t *feeds) readNextLocked() {
	for f := t.reads.nextLocked(); f != nil; f = t.reads.nextLocked() {
		t.running.Go(func() {
			t.within(f.readPage)
			t.reads.mu.Lock()
			defer t.reads.mu.Unlock()
			t.reads.places.give(f.target.Tenant())
			t.readNextLocked()
		})
	}
}
