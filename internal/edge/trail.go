package edge

import (
	"slices"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/message"
)

// trail is what receipts wait for at one connection. A mark whose receipt is
// over may stay for a while; it changes nothing any more.
type trail struct {
	// left counts the frames that have left the outbox since the trail began.
	left int
	// queued are in the outbox, in its order.
	queued []mark
	// written are out and not acknowledged.
	written []mark
}

// fanOutTrackedLocked is fanOutLocked for a message whose publisher wants a
// receipt.
func (l *loop) fanOutTrackedLocked(d *delivery) {
	expired := !d.deadline.IsZero() && l.now.After(d.deadline)
	if expired {
		l.lose(dropExpired, 1)
	}
	if d.target.Kind() == address.KindAll {
		for _, c := range l.conns {
			if c != nil {
				l.deliverTrackedLocked(c, d, expired)
			}
		}
	} else {
		l.shard.Members(d.target, func(slot uint32) { l.deliverTrackedLocked(l.conns[slot], d, expired) })
	}
	d.receipt.fannedOut()
}

// deliverTrackedLocked queues d at c unless c must not have it, and notes what
// became of it.
func (l *loop) deliverTrackedLocked(c *conn, d *delivery, expired bool) {
	r := d.receipt
	switch {
	case c.state != stateOpen:
		return
	case c.id == d.exclude, d.notificationType != "" && !c.wants(d.notificationType):
		r.settle(c.id, message.OutcomeExcluded)
		return
	case expired:
		r.settle(c.id, message.OutcomeExpired)
		return
	}
	f, ok := c.frameLocked(d)
	if !ok {
		return
	}
	l.messagesOut++
	c.sendLocked(f)
	switch {
	case c.state != stateOpen:
		r.settle(c.id, message.OutcomeSlow)
	case r.level == message.LevelQueued:
		r.settle(c.id, message.OutcomeQueued)
	default:
		c.followLocked(r)
	}
}

// followLocked follows the message that was queued last.
func (c *conn) followLocked(r *receipt) {
	c.pruneTrailLocked()
	if c.seldom != nil && c.seldom.trail.len() >= maxTrackedByConn {
		r.settle(c.id, message.OutcomeOverloaded)
		return
	}
	m, ok := r.follow(c.id)
	if !ok {
		return
	}
	s := c.own()
	if s.trail == nil {
		s.trail = &trail{}
	}
	m.at = s.trail.left + len(c.out.frames)
	s.trail.queued = append(s.trail.queued, m)
}

func (t *trail) len() int {
	if t == nil {
		return 0
	}
	return len(t.queued) + len(t.written)
}

// wroteLocked notes that so many frames are out. Once c is closing, nothing can
// be acknowledged any more.
func (c *conn) wroteLocked(frames int) {
	t := c.seldom.trail
	if t == nil || frames == 0 {
		return
	}
	t.left += frames
	done := 0
	for done < len(t.queued) && t.queued[done].at <= t.left {
		m := t.queued[done]
		done++
		waits := m.receipt.level == message.LevelAcked && c.state == stateOpen && !m.receipt.done.Load()
		m.move(message.OutcomeQueued, message.OutcomeWritten, !waits)
		if waits {
			t.written = append(t.written, m)
		}
	}
	t.queued = slices.Delete(t.queued, 0, done)
	c.tidyTrail()
}

// ackLocked notes that the client acknowledged these messages. What was not
// written to it, or is not waited for, can't be.
func (c *conn) ackLocked(ids []message.ID) {
	if c.seldom == nil || c.seldom.trail == nil {
		return
	}
	t := c.seldom.trail
	t.written = slices.DeleteFunc(t.written, func(m mark) bool {
		if !slices.Contains(ids, m.receipt.id) {
			return false
		}
		m.move(message.OutcomeWritten, message.OutcomeAcked, true)
		return true
	})
	c.tidyTrail()
}

// expireLocked takes what is past its deadline out of the next write. Only a
// connection that is behind can hold such.
func (c *conn) expireLocked() {
	places := c.out.expire(time.Now(), poll.MaxBuffers)
	if len(places) == 0 {
		return
	}
	c.loop.lose(dropExpired, len(places))
	if c.seldom == nil || c.seldom.trail == nil {
		return
	}
	t, gone := c.seldom.trail, 0
	t.queued = slices.DeleteFunc(t.queued, func(m mark) bool {
		place := m.at - t.left - 1
		for gone < len(places) && places[gone] < place {
			gone++
		}
		expired := gone < len(places) && places[gone] == place
		if expired {
			m.move(message.OutcomeQueued, message.OutcomeExpired, true)
		}
		return expired
	})
	for i := range t.queued {
		before, _ := slices.BinarySearch(places, t.queued[i].at-t.left-1)
		t.queued[i].at -= before
	}
	c.tidyTrail()
}

// cutTrailLocked notes that a slow consumer has lost its queue, but for a frame
// that has begun to go out.
func (c *conn) cutTrailLocked() {
	if c.seldom == nil || c.seldom.trail == nil {
		return
	}
	t := c.seldom.trail
	t.queued = slices.DeleteFunc(t.queued, func(m mark) bool {
		if m.at-t.left <= len(c.out.frames) {
			return false
		}
		m.move(message.OutcomeQueued, message.OutcomeSlow, true)
		return true
	})
	c.tidyTrail()
}

// endTrailLocked notes that c is gone: what was not written never will be, and
// what was can't be acknowledged.
func (c *conn) endTrailLocked() {
	if c.seldom == nil || c.seldom.trail == nil {
		return
	}
	for _, m := range c.seldom.trail.queued {
		m.move(message.OutcomeQueued, message.OutcomeGone, true)
	}
	for _, m := range c.seldom.trail.written {
		m.move(message.OutcomeWritten, message.OutcomeWritten, true)
	}
	c.seldom.trail = nil
	c.tidyLocked()
}

// pruneTrailLocked forgets the receipts that are over.
func (c *conn) pruneTrailLocked() {
	if c.seldom == nil || c.seldom.trail == nil {
		return
	}
	over := func(m mark) bool { return m.receipt.done.Load() }
	t := c.seldom.trail
	t.queued = slices.DeleteFunc(t.queued, over)
	t.written = slices.DeleteFunc(t.written, over)
	c.tidyTrail()
}

// tidyTrail gives up a trail with nothing on it.
func (c *conn) tidyTrail() {
	if c.seldom.trail.len() == 0 {
		c.seldom.trail = nil
		c.tidyLocked()
	}
}
