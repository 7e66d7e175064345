package edge

import (
	"context"
	"slices"
	"time"

	"github.com/aegisx/pushd/internal/history"
)

const (
	// pageMessages and pageBytes bound one page.
	pageMessages = 256
	pageBytes    = 1 << 20
	// firstRetry and lastRetry are how long a feed waits after a read that failed.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
	// repairPatience is how long messages wait for those before them that can't
	// be read.
	repairPatience = 10 * time.Second
)

// backlog is what is being read for those who wait: messages after the offset
// that the first of them names, up to end.
type backlog struct {
	events []*event
	bytes  int
	// floor: all that is kept after it and up to end is in events. What is before
	// is missing for reason; empty: nothing is.
	floor  uint64
	reason history.Reason
	end    uint64
}

// want is one read that is under way, and what the feed knew when it began.
type want struct {
	after    uint64
	repair   bool   // of what is after the position
	known    uint64 // up to where messages are known to be stored
	epoch    string
	position uint64
	goal     uint64
}

// query asks for the next page. Of the past no more is of use than one connection
// may get.
func (w *want) query() history.Query {
	q := history.Query{After: w.after, Known: w.known, Limit: pageMessages, Bytes: pageBytes}
	if !w.repair {
		q.Newest = replayMessages
	}
	return q
}

// readLocked sees to it that what is missing is read.
func (f *feed) readLocked() {
	if f.queued || f.ended || !f.wantsLocked() {
		return
	}
	if f.failures > 0 && time.Now().Before(f.retry) {
		f.attendLocked()
		return
	}
	f.queued = true
	f.hub.feeds.read(f)
}

// wantsLocked reports whether there is something to read.
func (f *feed) wantsLocked() bool {
	if f.epoch == "" {
		return false
	}
	_, past := f.pastLocked()
	return past || f.goal > f.position
}

// pastLocked returns the smallest offset from which somebody waits for what the
// ring does not have.
func (f *feed) pastLocked() (from uint64, ok bool) {
	for _, w := range f.waiting {
		r := w.resume
		if r == nil || r.epoch != f.epoch || r.offset >= f.ring.floor {
			continue
		}
		if !ok || r.offset < from {
			from, ok = r.offset, true
		}
	}
	return from, ok
}

// wantLocked returns what to read next: what is missing live first.
func (f *feed) wantLocked() (want, bool) {
	w := want{epoch: f.epoch, position: f.position, goal: f.goal}
	if f.ended || f.epoch == "" {
		return w, false
	}
	if f.goal > f.position {
		w.after, w.repair, w.known = f.position, true, f.goal
		return w, true
	}
	from, ok := f.pastLocked()
	if !ok {
		f.backlog = nil
		return w, false
	}
	if f.backlog == nil {
		f.backlog = &backlog{floor: from, end: from}
		f.ring.wide = true
		f.wide = time.Now()
		f.attendLocked()
	}
	w.after, w.known = f.backlog.end, min(f.position, f.ring.floor)
	return w, true
}

// readPage reads what f lacks, one page of it.
func (f *feed) readPage(ctx context.Context) {
	f.mu.Lock()
	w, ok := f.wantLocked()
	f.queued = ok
	f.mu.Unlock()
	if !ok {
		return
	}
	page, err := f.hub.history.Read(ctx, f.target, w.query())
	var s stirs
	f.mu.Lock()
	f.queued = false
	switch {
	case f.ended:
	case err != nil:
		f.failLocked(time.Now())
	default:
		f.failures = 0
		f.mergeLocked(w, page, &s)
	}
	if !f.ended {
		f.serveLocked(&s)
		f.keepLocked()
		f.readLocked()
	}
	f.mu.Unlock()
	f.hub.stir(f.target, s)
}

// failLocked puts off the next read.
func (f *feed) failLocked(now time.Time) {
	if f.failures == 0 {
		f.failing = now
	}
	f.retry = now.Add(min(firstRetry<<min(f.failures, 8), lastRetry))
	f.failures++
	f.attendLocked()
}

// mergeLocked takes a page that answers w.
func (f *feed) mergeLocked(w want, page *history.Page, s *stirs) {
	switch {
	case f.epoch != w.epoch: // the answer is of a time that is over
	case page.Epoch != f.epoch:
		f.askLocked() // where does the new one stand?
		f.failLocked(time.Now())
	case w.repair:
		f.repairLocked(w, page, s)
	case f.backlog != nil && f.backlog.end == w.after:
		f.fillLocked(w, page)
	}
}

// repairLocked hands over what a page has beyond the position, and says what is
// missing. What was handed over meanwhile followed what went before, so the
// page has nothing new up to there.
func (f *feed) repairLocked(w want, page *history.Page, s *stirs) {
	upTo := max(w.goal, w.after)
	if n := len(page.Messages); n > 0 {
		first, last := page.Messages[0].Position.Offset, page.Messages[n-1].Position.Offset
		if page.Gap != "" {
			f.missLocked(first-1, page.Gap, s)
		}
		upTo = max(upTo, last)
		if page.More {
			upTo = last
		}
	} else if page.Gap != "" {
		f.missLocked(upTo, page.Gap, s)
	}
	for _, m := range page.Messages {
		if m.Position.Offset > f.position {
			f.handOverLocked(newEvent(m), s)
		}
	}
	if f.refs == 0 {
		f.idle = time.Now() // copies of these may still come live
	}
	// Whatever else there was had a time to live of its own.
	f.position = max(f.position, upTo)
	f.unholdLocked(s)
}

// missLocked goes on to an offset up to which nothing more can be read: what is
// held is handed over, and what is missing before, between and behind that is
// announced.
func (f *feed) missLocked(to uint64, reason history.Reason, s *stirs) {
	for len(f.held) > 0 && f.held[0].message.Position.Offset <= to {
		e := f.held[0]
		f.held = slices.Delete(f.held, 0, 1)
		f.heldBytes -= len(e.message.Payload)
		if e.message.Position.Offset <= f.position {
			continue
		}
		if previous := e.message.Previous; previous > f.position {
			f.announceLocked(gap{from: f.position, to: previous, reason: reason}, s)
		}
		f.handOverLocked(e, s)
	}
	if to > f.position {
		f.announceLocked(gap{from: f.position, to: to, reason: reason}, s)
	}
}

// fillLocked adds a page to the backlog and, when that reaches the ring, puts
// both together.
func (f *feed) fillLocked(w want, page *history.Page) {
	b := f.backlog
	if page.Gap != "" {
		b.events, b.bytes, b.reason = nil, 0, page.Gap
		b.floor = max(w.position, b.end)
		if len(page.Messages) > 0 {
			b.floor = min(b.floor, page.Messages[0].Position.Offset-1)
		}
		b.end = max(b.end, b.floor)
	}
	for _, m := range page.Messages {
		if m.Position.Offset > f.ring.floor {
			break
		}
		b.add(newEvent(m), f.hub.replayBytes())
	}
	if n := len(page.Messages); page.More && n > 0 {
		b.end = max(b.end, page.Messages[n-1].Position.Offset)
	} else {
		// The server had got so far, at least. The ring had the rest when it was
		// asked, and may have let go of it since.
		b.end = max(b.end, w.known)
	}
	if b.end >= f.ring.floor {
		f.ring.prepend(b.events, min(b.floor, f.ring.floor), b.reason, f.hub.replayBytes())
		f.backlog = nil
	}
}

// add appends e and lets the oldest go, within maxBytes.
func (b *backlog) add(e *event, maxBytes int) {
	b.events = append(b.events, e)
	b.bytes += len(e.message.Payload)
	b.end = e.message.Position.Offset
	for len(b.events) > 1 && (len(b.events) > replayMessages || b.bytes > maxBytes) {
		oldest := b.events[0]
		b.events[0] = nil
		b.events = b.events[1:]
		b.bytes -= len(oldest.message.Payload)
		b.floor, b.reason = oldest.message.Position.Offset, history.ReasonOverflow
	}
}

// giveUpLocked goes on without what could not be read for too long.
func (f *feed) giveUpLocked(now time.Time, s *stirs) {
	if f.failures == 0 || f.goal <= f.position || now.Sub(f.failing) < repairPatience {
		return
	}
	f.failing = now
	f.missLocked(f.goal, history.ReasonOverflow, s)
	f.unholdLocked(s)
}
