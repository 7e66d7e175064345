package edge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// feeds holds the feeds of a node, one for each stored target that somebody
// follows, and the goroutines that ask the history for them.
type feeds struct {
	// set once
	hub *Hub
	// stop ends what waits for the history.
	stop    context.CancelFunc
	stopped <-chan struct{}
	within  func(f func(context.Context))
	running sync.WaitGroup

	reads feedReads
	asks  asks
	wards wards

	// kept is about how many bytes all feeds keep of messages.
	kept atomic.Int64
	// late counts what loseLate does.
	late atomic.Uint64
	// most is mostKept, but in tests.
	most int64

	// mu guards the table. It comes before the mutex of each feed.
	mu  sync.RWMutex
	all map[address.Target]*feed
	// closed says that nobody may follow any more.
	closed bool
}

func newFeeds(h *Hub) *feeds {
	base, stop := context.WithCancel(context.Background())
	return &feeds{
		hub:     h,
		stop:    stop,
		stopped: base.Done(),
		within:  within(base),
		asks:    asks{nudge: make(chan struct{}, 1)},
		most:    mostKept,
		all:     make(map[address.Target]*feed),
	}
}

// begin starts what asks the history; close ends it.
func (t *feeds) begin() {
	t.running.Go(t.runAsks)
	t.running.Go(t.runWards)
}

// close ends all reads, waits for them, and turns away those who wait.
func (t *feeds) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.reads.close()
	t.running.Wait()
	for _, f := range t.list() {
		var s stirs
		f.mu.Lock()
		f.refuseLocked(func(*joiner) bool { return true }, &s)
		f.mu.Unlock()
		t.hub.wake(s)
	}
}

// deliver hands on a stored message: by its feed, if there is one, else
// straight to the members.
func (t *feeds) deliver(m *message.Message) {
	for {
		t.mu.RLock()
		f := t.all[m.Target]
		if f == nil {
			// Under the lock, so that it is in the inboxes before a feed begins: the
			// feed's start counts it in.
			s := t.hub.put(m)
			t.mu.RUnlock()
			t.hub.stir(m.Target, s)
			return
		}
		t.mu.RUnlock()
		if f.take(m) {
			return
		}
	}
}

// follow makes w wait for its turn to follow target. Its interest is live. The
// caller holds the mutex of its loop.
func (t *feeds) follow(target address.Target, w *joiner) {
	t.mu.Lock()
	f := t.all[target]
	if f == nil {
		f = &feed{hub: t.hub, target: target, shares: make([]share, len(t.hub.loops))}
		t.all[target] = f
	}
	w.feed = f
	var s stirs
	f.mu.Lock()
	f.refs++
	f.idle = time.Time{}
	w.deadline = time.Now().Add(joinPatience)
	switch {
	case t.closed:
		f.admitLocked(w, turn{joiner: w}, &s)
	case f.epoch == "":
		f.waiting = append(f.waiting, w)
		f.askLocked()
		f.attendLocked()
	default:
		f.seatLocked(w, &s)
	}
	f.mu.Unlock()
	t.mu.Unlock()
	t.hub.wake(s)
}

// release counts out one who followed or waited to. A feed without any ends,
// but for one whose target has other members here: what was read for them may
// still come live, and must not reach them twice. The caller holds the mutex of
// a loop.
func (t *feeds) release(f *feed) {
	var s stirs
	t.mu.Lock()
	f.mu.Lock()
	f.refs--
	if f.refs == 0 {
		if f.epoch != "" && !t.closed && t.hub.receivers(f.target) != 0 {
			f.idle = time.Now()
			f.attendLocked()
		} else {
			t.endLocked(f, &s)
		}
	}
	f.mu.Unlock()
	t.mu.Unlock()
	t.hub.wake(s)
}

// endIdle ends f if nobody has followed it for long.
func (t *feeds) endIdle(f *feed, now time.Time) {
	var s stirs
	t.mu.Lock()
	f.mu.Lock()
	if f.refs == 0 && !f.ended && now.Sub(f.idle) >= idleFeed {
		t.endLocked(f, &s)
	}
	f.mu.Unlock()
	t.mu.Unlock()
	t.hub.wake(s)
}

// endLocked takes f off the table. What it holds goes to those who are members
// without following. The caller holds both mutexes.
func (t *feeds) endLocked(f *feed, s *stirs) {
	delete(t.all, f.target)
	f.ended = true
	for _, e := range slices.Concat(f.others.owed, f.held, f.strange) {
		s.join(t.hub.put(e.message))
	}
	f.others, f.held, f.heldBytes, f.strange, f.strangeBytes = others{}, nil, 0, nil, 0
	f.backlog, f.ring = nil, ring{}
	f.keepLocked()
}

// list returns the feeds of now.
func (t *feeds) list() []*feed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*feed, 0, len(t.all))
	for _, f := range t.all {
		list = append(list, f)
	}
	return list
}

// find returns the feed of target, nil if there is none.
func (t *feeds) find(target address.Target) *feed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.all[target]
}
