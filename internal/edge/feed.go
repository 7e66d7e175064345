package edge

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// heldMessages and heldBytes bound what a feed holds while it waits for a
	// read. What is over them is dropped, and read in its turn.
	heldMessages = 1024
	heldBytes    = 4 << 20
)

// feed is what this node knows of one stored target that somebody follows. It
// puts the target's messages into the inboxes of the loops: in order, each
// once, and with a word where some are missing. It is a member of feeds.
type feed struct {
	// set once
	hub    *Hub
	target address.Target

	// shares are by loop.
	shares []share
	// taken counts the turns that took effect.
	taken atomic.Uint64

	// mu guards all below. It is never held across a read or a socket write.
	mu sync.Mutex
	// refs counts those who follow or wait to; also guarded by feeds.mu.
	refs int
	// ended says that the feed is no longer in the table.
	ended bool
	// epoch is empty until the history has said where it stands.
	epoch string
	// before is where it was in the epoch before this one, if there was one here.
	before message.Position
	// position: everything up to it was handed to the loops, or announced as
	// missing.
	position uint64
	others   others
	// goal is an offset up to which messages are known to be stored. Beyond
	// position: they must be read.
	goal uint64
	ring ring
	// held waits for what is before it, by offset.
	held      []*event
	heldBytes int
	// counted is what the feed counts in feeds.kept.
	counted int64
	// direct is the newest message that came while the epoch was not known. Nobody
	// follows by then: it went straight to the members.
	direct message.Position
	// strange are of another epoch: over, or new? The history is asked. In the
	// order in which they came.
	strange      []*event
	strangeBytes int
	// waiting are those who want to follow.
	waiting []*joiner
	// admitted counts the turns that were put into inboxes.
	admitted uint64
	// backlog is what is being read for some of them; nil: nothing.
	backlog *backlog
	// lost are the messages that found a loop's inbox full, by loop.
	lost map[int]gap
	// moved says that something was handed over since the last sweep.
	moved bool
	// shared is what the history last said of this target and of others too.
	shared uint64
	// asked says that Last is to be asked, doubted that it is not just the sweep
	// that asks, queued that a read is due or under way, attended that the feed is
	// looked at now and then.
	asked, doubted, queued, attended bool
	// failures counts reads that failed one after the other, the first at
	// failing; the next is due at retry.
	failures       int
	failing, retry time.Time
	// idle is since when nobody follows; wide when the ring was made wide.
	idle, wide time.Time
}

// share is what a feed knows of one loop.
type share struct {
	// followers counts the connections that follow; guarded by the loop's mutex.
	followers int32
	// turns counts the turns in its inbox.
	turns atomic.Int32
}

// take hands m on, holds it, or drops it. False: the feed has ended.
func (f *feed) take(m *message.Message) bool {
	var s stirs
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return false
	}
	f.takeLocked(newEvent(m), &s)
	f.serveLocked(&s)
	f.keepLocked()
	f.mu.Unlock()
	f.hub.stir(f.target, s)
	return true
}

func (f *feed) takeLocked(e *event, s *stirs) {
	at := e.message.Position
	if at.Epoch == f.epoch && f.epoch != "" {
		f.cameLocked(at.Offset, s)
	}
	switch {
	case f.epoch == "":
		f.direct = at
		s.join(f.hub.put(e.message))
	case at.Epoch == f.before.Epoch:
		// Those who follow have been told that they don't get it.
		f.oldLocked(e, s)
		f.askLocked()
	case at.Epoch != f.epoch:
		size := len(e.message.Payload)
		if len(f.strange) < heldMessages && f.strangeBytes+size <= heldBytes && f.hub.feeds.hasRoom() {
			f.strange = append(f.strange, e)
			f.strangeBytes += size
		} // else what is after it will show that it is missing
		f.askLocked()
	case at.Offset <= f.position:
		f.lateLocked(e, s)
	case e.message.Previous > f.position:
		f.goal = max(f.goal, e.message.Previous)
		f.holdLocked(e)
		f.readLocked()
	default:
		f.handOverLocked(e, s)
		f.unholdLocked(s)
	}
}

// receiversLocked returns the loops that hold members, or will by the time when
// they come to what is put into their inboxes now, as a bit mask.
func (f *feed) receiversLocked() uint64 {
	mask := f.hub.receivers(f.target)
	if f.admitted == f.taken.Load() {
		return mask
	}
	for i := range f.shares {
		if f.shares[i].turns.Load() > 0 {
			mask |= 1 << uint(i)
		}
	}
	return mask
}

// tookTurn says that a turn has taken effect on loop i.
func (f *feed) tookTurn(i int) {
	f.shares[i].turns.Add(-1)
	f.taken.Add(1)
}

// handOverLocked gives e, the next message, to all members.
func (f *feed) handOverLocked(e *event, s *stirs) {
	mask := f.receiversLocked()
	d := f.delivery(e)
	if f.others.behind {
		d.to = toFollowers
		f.oweLocked(e, s)
	}
	d.receipt = f.hub.openReceipt(e.message, mask)
	for ; mask != 0; mask &= mask - 1 {
		f.putLocked(bits.TrailingZeros64(mask), &d, s)
	}
	f.position = e.message.Position.Offset
	f.ring.push(e, f.hub.replayBytes())
	f.moved = true
}

// delivery returns e on its way to the members of this feed.
func (f *feed) delivery(e *event) delivery {
	d := f.hub.delivery(e)
	d.feed = f
	return d
}

// putLocked puts d, the message after the position, into the inbox of loop i,
// behind the word on what found it full before.
func (f *feed) putLocked(i int, d *delivery, s *stirs) {
	l := f.hub.loops[i]
	before, lost := f.lost[i]
	var waited int
	var ok bool
	if lost {
		waited, ok = l.put(f.gapDelivery(before), d)
	} else {
		waited, ok = l.put(d)
	}
	if ok {
		s.add(i, waited)
		s.linger = d.linger
		if lost {
			delete(f.lost, i)
		}
		return
	}
	if !lost {
		before = gap{from: f.position, reason: history.ReasonOverflow}
	}
	before.to = d.event.message.Position.Offset
	if f.lost == nil {
		f.lost = make(map[int]gap)
	}
	f.lost[i] = before
	f.attendLocked()
}

// announceLocked tells all who follow that what is after the position and up
// to g.to is missing, and goes on from there.
func (f *feed) announceLocked(g gap, s *stirs) {
	for mask := f.receiversLocked(); mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		f.confessLocked(i, s)
		f.hub.loops[i].putAnyway(f.gapDelivery(g))
		s.add(i, 1)
	}
	f.hub.metrics.gaps.WithLabelValues(string(g.reason)).Inc()
	if g.epoch == "" {
		f.others.waitFor(f.position, g.to)
	}
	f.position, f.goal = g.to, max(f.goal, g.to)
	reason := g.reason
	if reason == history.ReasonOverflow || reason == history.ReasonEpochChanged {
		reason = "" // it is still there, or was never
	}
	f.ring.reset(g.to, reason)
}

// confessLocked puts the word on what found the inbox of loop i full there, if
// there is any.
func (f *feed) confessLocked(i int, s *stirs) {
	if g, ok := f.lost[i]; ok {
		delete(f.lost, i)
		f.hub.loops[i].putAnyway(f.gapDelivery(g))
		s.add(i, 1)
	}
}

func (f *feed) gapDelivery(g gap) *delivery {
	return &delivery{target: f.target, feed: f, turn: &turn{gap: g}}
}

// anewLocked goes over to another epoch, in which last is the newest message.
// What is of the old one and was not handed over is missing, and so is what is
// before the first message that has come of the new one.
func (f *feed) anewLocked(epoch string, last uint64, s *stirs) {
	position := last
	for _, e := range f.strange {
		if at := e.message.Position; at.Epoch == epoch {
			position = min(position, at.Offset-1)
		}
	}
	f.before = message.Position{Epoch: f.epoch, Offset: f.position}
	f.settleLocked(s)
	for _, e := range f.held {
		f.giveOthersLocked(e, s)
	}
	f.announceLocked(gap{from: f.position, to: position, reason: history.ReasonEpochChanged, epoch: epoch}, s)
	f.startLocked(epoch, position)
	f.goal = position
	f.held, f.heldBytes, f.backlog = nil, 0, nil
	f.failures = 0
}

// beginLocked is told for the first time where the history stands.
func (f *feed) beginLocked(epoch string, position uint64) {
	if f.direct.Epoch == epoch {
		position = max(position, f.direct.Offset)
	}
	f.startLocked(epoch, position)
	f.position, f.goal = position, max(f.goal, position)
	f.ring.reset(position, "")
}

// startLocked begins an epoch after position.
func (f *feed) startLocked(epoch string, position uint64) {
	f.epoch, f.others = epoch, others{}
	if f.direct.Epoch == epoch {
		f.others.came = f.direct.Offset
	}
	// What was stored before anybody followed.
	f.others.waitFor(f.others.came, position)
}

// holdLocked keeps e for its turn. Without room for it, it will be read.
func (f *feed) holdLocked(e *event) {
	offset := e.message.Position.Offset
	at, held := slices.BinarySearchFunc(f.held, offset, func(o *event, offset uint64) int {
		switch o := o.message.Position.Offset; {
		case o < offset:
			return -1
		case o > offset:
			return 1
		default:
			return 0
		}
	})
	if held {
		return
	}
	if len(f.held) >= heldMessages || f.heldBytes+len(e.message.Payload) > heldBytes || !f.hub.feeds.hasRoom() {
		f.goal = max(f.goal, offset)
		return
	}
	f.held = slices.Insert(f.held, at, e)
	f.heldBytes += len(e.message.Payload)
}

// unholdLocked hands over what is held, as far as nothing is missing before it.
func (f *feed) unholdLocked(s *stirs) {
	done := 0
	for _, e := range f.held {
		m := e.message
		if m.Position.Offset > f.position {
			if m.Previous > f.position {
				f.goal = max(f.goal, m.Previous)
				break
			}
			f.handOverLocked(e, s)
		}
		f.heldBytes -= len(m.Payload)
		done++
	}
	if f.held = slices.Delete(f.held, 0, done); len(f.held) == 0 {
		f.held = nil
	}
	f.readLocked()
}

// serveLocked lets those in who can be told where they stand.
func (f *feed) serveLocked(s *stirs) {
	if f.epoch == "" || len(f.waiting) == 0 {
		return
	}
	f.waiting = slices.DeleteFunc(f.waiting, func(w *joiner) bool {
		at, replay, ok := f.answerLocked(w)
		if ok {
			f.admitLocked(w, turn{joiner: w, at: at, replay: replay}, s)
		}
		return ok
	})
	if len(f.waiting) == 0 {
		f.waiting = nil
		f.backlog = nil
	}
	f.readLocked()
}

// seatLocked lets w in if it can be told where it stands, and has it wait
// otherwise. Those who wait already are not looked at: they may be many.
func (f *feed) seatLocked(w *joiner, s *stirs) {
	if at, replay, ok := f.answerLocked(w); ok {
		f.admitLocked(w, turn{joiner: w, at: at, replay: replay}, s)
		return
	}
	f.waiting = append(f.waiting, w)
	f.attendLocked()
	f.readLocked()
	if f.aheadLocked(w) {
		f.askLocked() // it has seen more than this node, or it is wrong
	}
}

// answerLocked returns what w is told if it begins to follow now, and what it
// missed. False: something must be read first.
func (f *feed) answerLocked(w *joiner) (*joined, []*event, bool) {
	at := &joined{epoch: f.epoch, offset: f.position}
	r := w.resume
	if r == nil {
		return at, nil, true
	}
	at.asked = true
	switch {
	case r.epoch != f.epoch, r.offset > f.position && w.denied:
		at.gap = &gap{from: r.offset, to: f.position, reason: history.ReasonEpochChanged}
		return at, nil, true
	case r.offset > f.position:
		return nil, nil, false
	case r.offset >= f.ring.floor:
		at.recovered = true
		return at, f.ring.after(r.offset), true
	case f.ring.reason != "":
		at.gap = &gap{from: r.offset, to: f.ring.floor, reason: f.ring.reason}
		return at, f.ring.after(0), true
	default:
		return nil, nil, false
	}
}

// admitLocked puts a turn of w into the inbox of its loop, where it takes
// effect in order with all messages.
func (f *feed) admitLocked(w *joiner, t turn, s *stirs) {
	l := w.conn.loop
	f.confessLocked(l.index, s)
	f.admitted++
	f.shares[l.index].turns.Add(1)
	l.putAnyway(&delivery{target: f.target, feed: f, turn: &t})
	s.add(l.index, 1)
}
