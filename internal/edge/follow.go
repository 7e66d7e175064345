package edge

import (
	"slices"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// joinPatience bounds how long a join may wait for the history.
	joinPatience = 5 * time.Second
	// denyAfter is how long a leader may take to get where others have been.
	denyAfter = 1500 * time.Millisecond
	// maxSeen bounds the notifications that a connection had before it follows.
	maxSeen = 256
	// frameOverhead is more than a dialect adds to a payload.
	frameOverhead = 256
)

// joiner is a connection that waits to follow a feed. It holds one reference of
// the feed.
type joiner struct {
	// set once
	conn    *conn
	pending *pendingJoin
	resume  *resume
	feed    *feed
	// deadline is when it is turned away.
	deadline time.Time

	// guarded by the feed's mutex
	// asked says that the history is asked where it stands, and denied that it
	// has never been where this client says it was: still not after denyAfter, for
	// the client may have been told by a server that was ahead of the leader.
	asked, denied bool
}

// turn is what stands in a loop's inbox between the messages of a feed, and
// takes effect there: the moment in which joiner begins to follow or is turned
// away or, without one, a gap.
type turn struct {
	joiner *joiner
	// at is what it is told; nil: it is turned away.
	at *joined
	// replay is what it has missed, oldest first. It is shared.
	replay []*event

	gap gap
}

// follow says that a connection follows a feed. It holds one reference of it.
type follow struct {
	feed *feed
	// from is the offset after which it follows, if it asked for nothing older of
	// an inbox, of which it was a member before: what is late up to there it has
	// not had. Else 0.
	from uint64
}

// seen is what a connection of the user's had of a user's inbox before it
// follows it.
type seen struct {
	epoch   string
	offsets []uint64
	// over says that there were more than maxSeen.
	over bool
}

// followsLocked returns how c follows f; nil: it does not.
func (c *conn) followsLocked(f *feed) *follow {
	if c.seldom == nil {
		return nil
	}
	for i := range c.seldom.follows {
		if c.seldom.follows[i].feed == f {
			return &c.seldom.follows[i]
		}
	}
	return nil
}

// takeTurnLocked lets a turn take effect.
func (l *loop) takeTurnLocked(f *feed, t *turn) {
	if t.joiner == nil {
		l.tellGapLocked(f, t.gap)
		return
	}
	defer f.tookTurn(l.index)
	c, p := t.joiner.conn, t.joiner.pending
	if t.at == nil || c.state != stateOpen {
		l.hub.feeds.release(f)
		if t.at == nil {
			p.failed = message.ErrUnavailable
		}
		c.finishJoinLocked(p)
		return
	}
	had := c.seenLocked(f.target, t.at)
	if w := c.followsLocked(f); w == nil {
		rare := c.own()
		rare.follows = append(rare.follows, follow{feed: f})
		f.shares[l.index].followers++
		if t.joiner.resume == nil && f.target.Kind() == address.KindUser {
			c.followsLocked(f).from = t.at.offset
		}
	} else {
		l.hub.feeds.release(f)
		if t.joiner.resume != nil {
			w.from = 0 // the replay has it
		}
	}
	c.addTypes(p.types)
	p.at, p.replay = c.fitLocked(t, had)
	c.finishJoinLocked(p)
}

// seenLocked returns what c had of its inbox before it follows it, and forgets
// that.
func (c *conn) seenLocked(t address.Target, at *joined) seen {
	if t.Kind() != address.KindUser || c.seldom == nil || c.seldom.seen == nil {
		return seen{}
	}
	had := *c.seldom.seen
	c.seldom.seen = nil
	slices.Sort(had.offsets)
	if had.epoch != at.epoch {
		return seen{}
	}
	return had
}

// takesLocked reports whether c takes d, which is stored, and whether as one who
// follows.
func (c *conn) takesLocked(d *delivery) (follows, ok bool) {
	follows = d.feed != nil && (d.everyone || c.followsLocked(d.feed) != nil)
	switch {
	case d.to == toFollowers && !follows:
		return false, false
	case d.to == toOthers && follows:
		// With its offset it would take the client back.
		w := c.followsLocked(d.feed)
		return false, w != nil && d.event.message.Position.Offset <= w.from
	}
	if !follows && d.target.Kind() == address.KindUser && c.v1() {
		c.noteSeenLocked(d.event.message.Position)
	}
	return follows, true
}

// noteSeenLocked remembers that c had a stored message of its inbox without
// following it.
func (c *conn) noteSeenLocked(at message.Position) {
	rare := c.own()
	if rare.seen == nil || rare.seen.epoch != at.Epoch {
		rare.seen = &seen{epoch: at.Epoch}
	}
	if s := rare.seen; len(s.offsets) < maxSeen && !s.over {
		s.offsets = append(s.offsets, at.Offset)
	} else {
		s.over, s.offsets = true, nil
	}
}

// fitLocked returns what c is told and what it gets of the past: what it must
// have, and no more than its queue can take with room for what comes live. The
// oldest are left out.
func (c *conn) fitLocked(t *turn, had seen) (*joined, []*event) {
	at := *t.at
	if !at.asked {
		return &at, nil
	}
	from := t.joiner.resume.offset
	if had.over && from < at.offset {
		at.recovered = false
		at.gap = &gap{from: from, to: at.offset, reason: history.ReasonOverflow}
		return &at, nil
	}
	now := c.loop.now
	replay := make([]*event, 0, len(t.replay))
	for _, e := range t.replay {
		m := e.message
		_, skip := slices.BinarySearch(had.offsets, m.Position.Offset)
		skip = skip || m.Exclude == c.id || m.NotificationType != "" && !c.wants(m.NotificationType) ||
			!m.Deadline.IsZero() && now.After(m.Deadline)
		if !skip {
			replay = append(replay, e)
		}
	}
	o := &c.loop.hub.opts
	room := min(c.loop.hub.replayBytes(), o.OutboundQueueBytes-c.out.waiting()-frameOverhead)
	most := min(replayMessages, o.OutboundQueueFrames-len(c.out.frames)-1)
	first := len(replay)
	for first > 0 && len(replay)-first < most {
		need := len(replay[first-1].message.Payload) + frameOverhead
		if room < need {
			break
		}
		room -= need
		first--
	}
	if first > 0 {
		at.recovered = false
		at.gap = &gap{from: from, to: replay[first-1].message.Position.Offset, reason: history.ReasonOverflow}
	}
	return &at, replay[first:]
}

// replayLocked queues what c has missed.
func (c *conn) replayLocked(replay []*event) {
	for _, e := range replay {
		if c.state != stateOpen {
			return
		}
		c.loop.messagesOut++
		c.sendLocked(e.frame(c.dialect, true))
	}
}

// tellGapLocked tells those who follow f, and know of offsets, what is missing.
func (l *loop) tellGapLocked(f *feed, g gap) {
	var channel address.Channel
	if f.target.Kind() == address.KindChannel {
		channel = f.target.Channel()
	}
	l.shard.Members(f.target, func(slot uint32) {
		c := l.conns[slot]
		if c.state != stateOpen || !c.v1() {
			return
		}
		if w := c.followsLocked(f); w != nil {
			if g.reason == history.ReasonEpochChanged {
				w.from = 0
			}
			c.sendLocked(gapFrame(c, channel, g))
		}
	})
}

// unfollowLocked ends c's following of t, if it does.
func (c *conn) unfollowLocked(t address.Target) {
	if c.seldom == nil {
		return
	}
	for i, w := range c.seldom.follows {
		if w.feed.target == t {
			c.seldom.follows = slices.Delete(c.seldom.follows, i, i+1)
			c.endFollowLocked(w)
			break
		}
	}
	if len(c.seldom.follows) == 0 {
		c.seldom.follows = nil
	}
	c.tidyLocked()
}

// unfollowAllLocked ends all of c's following.
func (c *conn) unfollowAllLocked() {
	if c.seldom == nil {
		return
	}
	for _, w := range c.seldom.follows {
		c.endFollowLocked(w)
	}
	c.seldom.follows, c.seldom.seen = nil, nil
	c.tidyLocked()
}

func (c *conn) endFollowLocked(w follow) {
	w.feed.shares[c.loop.index].followers--
	c.loop.hub.feeds.release(w.feed)
}

// replayBytes bounds what one connection gets of the past at once.
func (h *Hub) replayBytes() int { return min(ringBytes, h.opts.OutboundQueueBytes/2) }
