package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// subscription is one subscribed subject.
type subscription interface {
	unsubscribe() error
}

// subscriber is what interest needs of NATS.
type subscriber interface {
	// subscribe must not wait for the server.
	subscribe(subject string) (subscription, error)
	// flush returns when the server has all subscriptions.
	flush(timeout time.Duration) error
}

// errNoTarget answers Acquire of the zero Target.
var errNoTarget = errors.New("no target")

// interest holds one subscription for each target that has local members, and
// for a linger after the last. Its batcher is the only goroutine that
// subscribes and unsubscribes.
//
// A lone node is wide: it subscribes everything at its start and nothing after.
// Nobody else could want what it publishes, so exact interest would only cost
// it a kilobyte and a round trip per user.
type interest struct {
	// Set once.
	wide           bool
	bus            subscriber
	linger, settle time.Duration
	flushTimeout   time.Duration
	// confirm asks the other nodes whether their servers know; nil: nobody can
	// be asked.
	confirm         func(context.Context) bool
	log             *slog.Logger
	metrics         *metrics
	kick            chan struct{} // capacity 1: the batcher has work
	connected, live atomic.Bool   // written with mu held

	// Guarded by mu, which is never held across a call of bus or of a waiter.
	mu      sync.Mutex
	entries map[address.Target]*entry
	// pending waits for the batcher.
	pending []*entry
	// waiting are told when a wide node's interest is live, or can't be.
	waiting []func(error)
	// unsettled have a subscription that no flush has followed; the next
	// reconnect makes them live.
	unsettled map[*entry]struct{}
	// idle holds entries without references, oldest first.
	idle idleList
	// lost counts disconnects, so that a flush across one proves nothing.
	lost uint64
	// resettle is set when the connection is new.
	resettle bool
	closed   bool
}

// entry is the interest in one target.
type entry struct {
	target address.Target
	// Owned by the batcher.
	sub subscription
	// Guarded by interest.mu.
	refs    int
	waiters []func(error)
	queued  bool // in pending, or in the batcher's hands
	live    bool
	expires time.Time // while idle
	older   *entry
	newer   *entry
}

func newInterest(bus subscriber, o Options, m *metrics, log *slog.Logger) *interest {
	i := &interest{
		bus:    bus,
		linger: o.InterestLinger,
		settle: o.Settle,
		// Who waits may wait for two batches.
		flushTimeout: o.PublishTimeout / 2,
		log:          log,
		metrics:      m,
		kick:         make(chan struct{}, 1),
		entries:      make(map[address.Target]*entry),
		unsettled:    make(map[*entry]struct{}),
	}
	if o.alone() {
		// There is no other server to wait for.
		i.wide, i.settle = true, 0
	}
	return i
}

// acquire counts one member in. See Router.Acquire.
func (i *interest) acquire(t address.Target, ready func(error)) (live bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	if i.wide && !t.IsZero() {
		if i.live.Load() {
			return true
		}
		i.waiting = append(i.waiting, ready)
		i.wake()
		return false
	}
	e := i.entries[t]
	if e == nil {
		e = &entry{target: t}
		i.entries[t] = e
	}
	if e.refs == 0 {
		i.idle.remove(e)
	}
	e.refs++
	if e.live && i.live.Load() {
		return true
	}
	e.waiters = append(e.waiters, ready)
	if !e.queued {
		e.queued = true
		i.pending = append(i.pending, e)
	}
	i.wake()
	return false
}

// release counts one member out. See Router.Release.
func (i *interest) release(t address.Target) {
	if i.wide {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return
	}
	e := i.entries[t]
	if e == nil || e.refs == 0 {
		i.log.Error("interest released too often", "kind", t.Kind().String())
		return
	}
	e.refs--
	if e.refs == 0 {
		e.expires = time.Now().Add(i.linger)
		i.idle.push(e)
	}
}

// holds reports whether messages for t reach this node and may have a receiver
// here.
func (i *interest) holds(t address.Target) bool {
	if i.wide {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.entries[t]
	return e != nil && e.live && e.refs > 0
}

// linkDown says that NATS is away. What waits fails at once.
func (i *interest) linkDown() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lost++
	i.connected.Store(false)
	i.live.Store(false)
	i.metrics.up.Set(0)
	i.wake()
}

// linkUp says that NATS is connected and knows all subscriptions made so far,
// or will by the next flush.
func (i *interest) linkUp() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.connected.Store(true)
	i.resettle = true
	i.wake()
}

// subjects returns what is subscribed once for all.
func (i *interest) subjects() []string {
	if i.wide {
		return wideSubjects()
	}
	return nil
}

func (i *interest) wake() {
	select {
	case i.kick <- struct{}{}:
	default:
	}
}

// idleList is a list of entries in the order in which they became idle. All
// linger equally long, so the first is the first to expire.
type idleList struct{ first, last *entry }

func (l *idleList) push(e *entry) {
	e.older, e.newer = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.newer = e
	}
	l.last = e
}

// remove takes e out if it is in.
func (l *idleList) remove(e *entry) {
	if e.older == nil && l.first != e {
		return
	}
	if e.older == nil {
		l.first = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		l.last = e.older
	} else {
		e.newer.older = e.older
	}
	e.older, e.newer = nil, nil
}

// unavailable hides the cause, which has been logged where it showed.
func unavailable(err error) error {
	if err == nil || errors.Is(err, errNoTarget) {
		return err
	}
	return message.ErrUnavailable
}
