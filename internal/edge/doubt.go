package edge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aegisx/pushd/internal/address"
)

const (
	// sweepInterval is how often all feeds are compared with the history.
	sweepInterval = 30 * time.Second
	// maxAsked bounds the targets of one question.
	maxAsked = 1000
	// askRetry is how long to wait after a question that failed.
	askRetry = 250 * time.Millisecond
	// wardInterval is how often feeds that need it are looked at.
	wardInterval = 250 * time.Millisecond
	// wideTime is for how long the ring is wide after a replay was read.
	wideTime = 2 * time.Second
	// idleFeed is how long a feed goes on that nobody follows.
	idleFeed = 10 * time.Second
)

// asks are the feeds of which the history is asked where they stand.
type asks struct {
	nudge chan struct{} // capacity 1

	mu sync.Mutex
	// urgent ones are those for which somebody waits.
	urgent, routine []*feed
	// all says that all feeds are doubted.
	all bool
}

// doubt has the history asked for all feeds.
func (a *asks) doubt() {
	a.mu.Lock()
	a.all = true
	a.mu.Unlock()
	a.wake()
}

// doubted reports whether doubt was called since the last time.
func (a *asks) doubted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = false
	return all
}

func (a *asks) wake() {
	select {
	case a.nudge <- struct{}{}:
	default: // it is looked at anyway
	}
}

func (a *asks) add(f *feed, urgent bool) {
	a.mu.Lock()
	if urgent {
		a.urgent = append(a.urgent, f)
	} else {
		a.routine = append(a.routine, f)
	}
	a.mu.Unlock()
	a.wake()
}

// next returns the feeds of the next question, urgent ones first.
func (a *asks) next() []*feed {
	a.mu.Lock()
	defer a.mu.Unlock()
	var batch []*feed
	for _, list := range []*[]*feed{&a.urgent, &a.routine} {
		n := min(len(*list), maxAsked-len(batch))
		batch = append(batch, (*list)[:n]...)
		if *list = slices.Delete(*list, 0, n); len(*list) == 0 {
			*list = nil
		}
	}
	return batch
}

// wards are the feeds that are looked at now and then.
type wards struct {
	mu   sync.Mutex
	list []*feed
}

// Doubt says that stored messages for t, or for any target if t is zero, may
// have been lost on the way here. It never blocks.
func (h *Hub) Doubt(t address.Target) {
	if t.IsZero() {
		h.feeds.asks.doubt()
		return
	}
	if f := h.feeds.find(t); f != nil {
		f.mu.Lock()
		f.askLocked()
		f.mu.Unlock()
	}
}

// runAsks asks the history where feeds stand, one question after the other.
func (t *feeds) runAsks() {
	sweep := time.NewTimer(jitter(sweepInterval))
	defer sweep.Stop()
	again := time.NewTimer(askRetry)
	defer again.Stop()
	nudge := t.asks.nudge // nil while nothing is to be asked
	for {
		select {
		case <-t.stopped:
			return
		case <-sweep.C:
			t.sweep()
			sweep.Reset(jitter(sweepInterval))
		case <-again.C:
			nudge = t.asks.nudge
		case <-nudge:
		}
		if nudge != nil && !t.askAll() {
			nudge = nil
			again.Reset(askRetry)
		}
	}
}

// sweep lets go what nobody may come back for, and doubts the rest.
func (t *feeds) sweep() {
	for _, f := range t.list() {
		f.mu.Lock()
		if !f.moved {
			f.ring.reset(f.position, "")
		}
		f.moved = false
		f.keepLocked()
		doubted := f.doubted
		f.askLocked()
		f.doubted = doubted
		f.mu.Unlock()
	}
}

// askAll asks until nothing is left to ask. False: a question failed.
func (t *feeds) askAll() bool {
	for {
		if t.asks.doubted() {
			for _, f := range t.list() {
				f.mu.Lock()
				f.askLocked()
				f.mu.Unlock()
			}
		}
		batch := t.asks.next()
		if len(batch) == 0 {
			return true
		}
		ok := false
		t.within(func(ctx context.Context) { ok = t.ask(ctx, batch) })
		if !ok {
			return false
		}
	}
}

// ask asks where the feeds of batch stand.
func (t *feeds) ask(ctx context.Context, batch []*feed) bool {
	var asked []*feed
	var targets []address.Target
	var epochs []string
	for _, f := range batch {
		f.mu.Lock()
		f.asked = false
		if !f.ended {
			asked, targets, epochs = append(asked, f), append(targets, f.target), append(epochs, f.epoch)
			for _, w := range f.waiting {
				w.asked = true
			}
		}
		f.mu.Unlock()
	}
	if len(asked) == 0 {
		return true
	}
	epoch, offsets, err := t.hub.history.Last(ctx, targets)
	if err != nil {
		for _, f := range asked {
			f.mu.Lock()
			for _, w := range f.waiting {
				w.asked = false
			}
			f.askLocked()
			f.mu.Unlock()
		}
		return false
	}
	times := make(map[uint64]int, len(offsets))
	for _, offset := range offsets {
		times[offset]++
	}
	for i, f := range asked {
		var s stirs
		f.mu.Lock()
		f.standLocked(epochs[i], stand{epoch, offsets[i], times[offsets[i]] > 1}, &s)
		f.mu.Unlock()
		t.hub.stir(f.target, s)
	}
	return true
}

// askLocked has the history asked where f stands.
func (f *feed) askLocked() {
	f.doubted = true
	if f.asked || f.ended {
		return
	}
	f.asked = true
	f.hub.feeds.asks.add(f, len(f.waiting) > 0)
}

// stand is the answer of the history for one target.
type stand struct {
	epoch string
	last  uint64
	// shared says that the same question gave this offset for other targets too:
	// all but one of them, at least, have no messages.
	shared bool
}

// standLocked takes the answer of the history to a question of the time when
// f's epoch was before.
func (f *feed) standLocked(before string, at stand, s *stirs) {
	switch {
	case f.ended:
		return
	case f.epoch != before:
		f.askLocked() // there was another epoch meanwhile
		return
	case f.epoch == "":
		f.beginLocked(at.epoch, at.last)
	case at.epoch != f.epoch:
		f.anewLocked(at.epoch, at.last, s)
	}
	if !f.emptyLocked(at) {
		f.goal = max(f.goal, at.last)
	}
	f.doubted = f.asked && f.doubted
	f.strangeLocked(s)
	now := time.Now()
	for _, w := range f.waiting {
		if w.asked && w.resume != nil && w.resume.offset > at.last {
			w.denied = !now.Before(w.deadline.Add(denyAfter - joinPatience))
		}
	}
	f.serveLocked(s)
	f.keepLocked()
	f.readLocked()
}

// emptyLocked reports whether a sweep may take it that nothing was stored, so
// that the many targets without messages are not all read each time. The one
// that has the newest message of all looks like them; when it has no longer, or
// when nothing was stored until the next sweep, it is read.
func (f *feed) emptyLocked(at stand) bool {
	if f.doubted || len(f.waiting) > 0 || !at.shared || at.last == f.shared {
		return false
	}
	f.shared = at.last
	return true
}

// strangeLocked takes what came of another epoch, if that is now this one.
func (f *feed) strangeLocked(s *stirs) {
	strange := f.strange
	f.strange, f.strangeBytes = nil, 0
	for _, e := range strange {
		switch {
		case e.message.Position.Epoch == f.epoch, e.message.Position.Epoch == f.before.Epoch:
			f.takeLocked(e, s)
		case f.asked: // the next answer may know it
			f.strange = append(f.strange, e)
			f.strangeBytes += len(e.message.Payload)
		}
	}
}

// attendLocked has f looked at now and then, as long as it needs that.
func (f *feed) attendLocked() {
	if f.attended {
		return
	}
	f.attended = true
	w := &f.hub.feeds.wards
	w.mu.Lock()
	w.list = append(w.list, f)
	w.mu.Unlock()
}

// runWards looks at the feeds that need it.
func (t *feeds) runWards() {
	ticker := time.NewTicker(wardInterval)
	defer ticker.Stop()
	for {
		select {
		case <-t.stopped:
			return
		case now := <-ticker.C:
			t.wards.mu.Lock()
			list := t.wards.list
			t.wards.list = nil
			t.wards.mu.Unlock()
			for _, f := range list {
				f.tend(now)
			}
		}
	}
}

// tend does what is due for f by now.
func (f *feed) tend(now time.Time) {
	var s stirs
	f.mu.Lock()
	f.attended = false
	f.refuseLocked(func(w *joiner) bool { return now.After(w.deadline) }, &s)
	if slices.ContainsFunc(f.waiting, f.aheadLocked) {
		f.askLocked()
	}
	f.giveUpLocked(now, &s)
	if len(f.others.owed) > 0 && now.Sub(f.others.since) >= latePatience {
		f.giveUpLateLocked(&s)
	}
	f.retellLocked(&s)
	if f.ring.wide && f.backlog == nil && now.Sub(f.wide) >= wideTime {
		f.ring.narrow(f.hub.replayBytes())
	}
	f.keepLocked()
	f.readLocked()
	idle := f.refs == 0
	if f.needyLocked() {
		f.attendLocked()
	}
	f.mu.Unlock()
	f.hub.stir(f.target, s)
	if idle {
		f.hub.feeds.endIdle(f, now)
	}
}

// retellLocked tries again to tell loops what found their inbox full.
func (f *feed) retellLocked(s *stirs) {
	for i := range f.lost {
		if f.receiversLocked()&(1<<uint(i)) == 0 {
			delete(f.lost, i)
		} else if waited, ok := f.hub.loops[i].put(f.gapDelivery(f.lost[i])); ok {
			delete(f.lost, i)
			s.add(i, waited)
		}
	}
}

// needyLocked reports whether something may be due for f later.
func (f *feed) needyLocked() bool {
	return !f.ended && (f.refs == 0 || len(f.waiting) > 0 || len(f.lost) > 0 || len(f.others.owed) > 0 || f.failures > 0 || f.ring.wide)
}

// aheadLocked reports whether w has been further than f.
func (f *feed) aheadLocked(w *joiner) bool {
	return w.resume != nil && w.resume.epoch == f.epoch && w.resume.offset > f.position
}

// refuseLocked turns away those who wait and are meant by which.
func (f *feed) refuseLocked(which func(*joiner) bool, s *stirs) {
	f.waiting = slices.DeleteFunc(f.waiting, func(w *joiner) bool {
		if !which(w) {
			return false
		}
		f.admitLocked(w, turn{joiner: w}, s)
		return true
	})
	if len(f.waiting) == 0 {
		f.backlog = nil
	}
}
