package cluster

import (
	"context"
	"time"

	"github.com/aegisx/pushd/internal/message"
)

const (
	// batchMost bounds what one flush waits for.
	batchMost = 4096
	// sweepMost bounds what the batcher unsubscribes before it looks for new
	// interest again.
	sweepMost = 1024
	// sweepEvery is how exact the linger is, at most.
	sweepEvery = time.Second
	// retryPause keeps a failing flush from being tried in a tight loop.
	retryPause = 20 * time.Millisecond
)

// batch is what the batcher works on.
type batch struct {
	entries  []*entry
	errs     []error // by entry
	waiting  []func(error)
	lost     uint64
	up       bool
	resettle bool
}

// run is the batcher. It returns when ctx is done; what waits then fails.
func (i *interest) run(ctx context.Context) {
	every := sweepEvery
	if i.linger > 0 {
		every = min(every, max(i.linger/4, time.Millisecond))
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			i.end()
			return
		case <-i.kick:
		case <-ticker.C:
		}
		for ctx.Err() == nil {
			b := i.take()
			if b == nil {
				break
			}
			if !i.work(ctx, b) {
				wait(ctx, retryPause)
			}
		}
		i.sweep(time.Now())
	}
}

// take returns what there is to do, or nil.
func (i *interest) take() *batch {
	i.mu.Lock()
	defer i.mu.Unlock()
	up := i.connected.Load()
	if len(i.pending) == 0 && len(i.waiting) == 0 && (!up || !i.resettle) {
		return nil
	}
	n := min(len(i.pending), batchMost)
	b := &batch{
		entries:  i.pending[:n:n],
		errs:     make([]error, n),
		waiting:  i.waiting,
		lost:     i.lost,
		up:       up,
		resettle: up && i.resettle,
	}
	i.waiting = nil
	i.pending = i.pending[n:]
	if len(i.pending) == 0 {
		i.pending = nil
	}
	if b.resettle {
		i.resettle = false
	}
	return b
}

// work subscribes a batch, waits until the cluster knows, and tells those who
// wait. It reports whether that worked. While NATS is away the client only
// notes the subscriptions, to send them when it is back.
func (i *interest) work(ctx context.Context, b *batch) bool {
	for n, e := range b.entries {
		if e.sub != nil {
			continue
		}
		subject := interestSubject(e.target)
		if subject == "" {
			b.errs[n] = errNoTarget
			continue
		}
		if e.sub, b.errs[n] = i.bus.subscribe(subject); b.errs[n] != nil {
			i.log.Warn("subscribe failed", "kind", e.target.Kind().String(), "error", b.errs[n])
			continue
		}
		i.metrics.interest.Inc()
	}
	ok := b.up
	if ok {
		if err := i.bus.flush(i.flushTimeout); err != nil {
			i.log.Warn("interest could not be flushed", "error", err)
			ok = false
		}
	}
	ok = ok && i.awaitPeers(ctx)
	for _, ready := range i.finish(b, ok) {
		ready()
	}
	return ok
}

// awaitPeers waits until the other servers know: those of nodes that confirm, or
// all that are there, in the time that they usually need.
func (i *interest) awaitPeers(ctx context.Context) bool {
	if i.confirm != nil && i.settle > 0 && i.confirm(ctx) {
		return true
	}
	return wait(ctx, i.settle)
}

// finish notes the outcome and returns the calls to make without the lock.
func (i *interest) finish(b *batch, ok bool) []func() {
	i.mu.Lock()
	defer i.mu.Unlock()
	ok = ok && i.lost == b.lost && !i.closed
	var calls []func()
	for n, e := range b.entries {
		e.queued = false
		err := b.errs[n]
		switch {
		case err != nil:
		case ok:
			e.live = true
		default:
			err = message.ErrUnavailable
			i.noteUnsettled(e)
		}
		for _, ready := range e.waiters {
			calls = append(calls, func() { ready(unavailable(err)) })
		}
		e.waiters = nil
	}
	if b.resettle {
		i.noteResettled(b, ok)
	}
	err := message.ErrUnavailable
	if ok && i.live.Load() {
		err = nil
	}
	for _, ready := range b.waiting {
		calls = append(calls, func() { ready(err) })
	}
	return calls
}

// noteResettled notes the outcome of a batch that asked for what is not settled.
func (i *interest) noteResettled(b *batch, ok bool) {
	switch {
	case ok:
		for e := range i.unsettled {
			e.live = e.sub != nil
		}
		clear(i.unsettled)
		i.live.Store(true)
		i.metrics.up.Set(1)
	case i.lost == b.lost:
		// The server is slow to answer: try again with the next tick.
		i.resettle = true
	}
}

func (i *interest) noteUnsettled(e *entry) {
	if !e.live {
		i.unsettled[e] = struct{}{}
	}
}

// sweep unsubscribes what has lingered long enough.
func (i *interest) sweep(now time.Time) {
	var expired []*entry
	i.mu.Lock()
	for e := i.idle.first; e != nil && len(expired) < sweepMost; e = i.idle.first {
		if e.queued || e.expires.After(now) {
			break
		}
		i.idle.remove(e)
		delete(i.entries, e.target)
		delete(i.unsettled, e)
		expired = append(expired, e)
	}
	i.mu.Unlock()
	for _, e := range expired {
		i.unsubscribe(e)
	}
	if len(expired) == sweepMost {
		i.wake()
	}
}

func (i *interest) unsubscribe(e *entry) {
	if e.sub == nil {
		return
	}
	if err := e.sub.unsubscribe(); err != nil {
		i.log.Warn("unsubscribe failed", "kind", e.target.Kind().String(), "error", err)
	}
	e.sub = nil
	i.metrics.interest.Dec()
}

// end fails what waits and unsubscribes everything.
func (i *interest) end() {
	i.mu.Lock()
	i.closed = true
	i.live.Store(false)
	b := &batch{entries: i.pending, errs: make([]error, len(i.pending)), waiting: i.waiting, lost: i.lost}
	i.pending, i.waiting = nil, nil
	entries := i.entries
	i.entries = nil
	i.idle = idleList{}
	i.mu.Unlock()
	for _, ready := range i.finish(b, false) {
		ready()
	}
	for _, e := range entries {
		i.unsubscribe(e)
	}
}

// wait waits for d and reports whether ctx left it the time.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
