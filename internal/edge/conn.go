package edge

import (
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/message"
)

// openTimeout bounds how long a connection may wait for its interest.
const openTimeout = 10 * time.Second

// state is where a connection is in its life. It only grows.
type state uint8

const (
	// stateOpening: the interest in its targets is not live yet.
	stateOpening state = iota
	// stateOpen: the client was told its connection id.
	stateOpen
	// stateClosing: the close frame is queued; what is read is thrown away.
	stateClosing
	// stateFinned: all is written and the sending side is shut.
	stateFinned
	// stateClosed: the socket is gone and the slot is free.
	stateClosed
)

// conn is one client's connection. It implements poll.Handler; the socket's
// driver calls Readable, Writable and Closed, with loop.mu held.
//
// Its size is what an idle client costs, so it holds numbers no wider than they
// need and nothing that only few use; slot and dialect are set once, but stand
// where there is room.
type conn struct {
	// set once
	id        message.ID
	loop      *loop
	principal *auth.Principal
	socket    poll.Socket

	// guarded by loop.mu
	limiter limiter
	parser  frame.Parser
	out     outbox
	// seldom is nil while there is nothing in it.
	seldom *seldom
	// lastRead counts from the start of the hub, as does nextDue.
	lastRead time.Duration
	// nextDue is when the next ping is due, and once the connection is closing,
	// when it is cut.
	nextDue time.Duration
	// behindSince is when the outbound queue last began to wait for the kernel;
	// 0: it does not.
	behindSince moment
	// due is the tick for which the wheel names this connection; a name for
	// another tick is old.
	due  uint32
	slot uint32
	// dialect is what the client speaks.
	dialect handshake.Dialect
	state   state
	dirty   bool
	// blocked says that the kernel took less than it was offered: wait for
	// Writable.
	blocked bool
}

// seldom is what a connection holds that few have. It is guarded by loop.mu.
type seldom struct {
	// notifications is nil until the client subscribed to types.
	notifications map[string]struct{}
	pending       []*pendingJoin
	// sending counts the messages of the client that wait for an answer.
	sending int
	// reading says that a history is being read for the client.
	reading bool
	// follows are the feeds that the client follows.
	follows []follow
	// seen is nil unless the client had some of its inbox without following it.
	seen *seen
	// trail is nil while no receipt waits for this connection.
	trail *trail
}

// isEmpty reports whether nothing is held.
func (s *seldom) isEmpty() bool {
	return s.notifications == nil && len(s.pending) == 0 && s.sending == 0 && !s.reading &&
		len(s.follows) == 0 && s.seen == nil && s.trail == nil
}

// Readable implements poll.Handler: it takes what the socket read.
func (c *conn) Readable(data []byte) {
	l := c.loop
	l.bytesIn += uint64(len(data))
	if c.state != stateOpen {
		return
	}
	l.tell(time.Now())
	c.lastRead = l.clock
	l.current = c
	err := c.parser.Feed(data, l.onMessage)
	l.current = nil
	if err != nil {
		c.failLocked(err)
	}
	c.noteUnfinishedLocked()
	l.flushLocked()
}

// Writable implements poll.Handler: the kernel takes bytes again.
func (c *conn) Writable() {
	c.blocked = false
	c.loop.markDirty(c)
	c.loop.flushLocked()
}

// Closed implements poll.Handler: the socket is gone. It is the one place
// where a connection is taken off its loop.
func (c *conn) Closed(error) {
	l := c.loop
	if c.state < stateClosing {
		l.hub.metrics.closed(ws.StatusAbnormalClosure, "")
		c.detachLocked()
	}
	c.state = stateClosed
	l.lose(dropGone, c.out.discard())
	c.endTrailLocked()
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.hub.connections.Add(-1)
}

// sendLocked queues f. A connection that falls behind is closed.
func (c *conn) sendLocked(f *frame.Frame) {
	if c.state >= stateClosing {
		return
	}
	l := c.loop
	if !c.out.admits(int(c.out.held(f)), l.hub.opts.OutboundQueueBytes, l.hub.opts.OutboundQueueFrames) {
		if f.IsMessage() {
			l.lose(dropSlowConsumer, 1)
		}
		c.fallBehindLocked()
		return
	}
	c.out.push(f)
	l.markDirty(c)
}

// fallBehindLocked closes a slow consumer, which loses its queue.
func (c *conn) fallBehindLocked() {
	c.closeLocked(closeSlowConsumer, closeReason(closeSlowConsumer))
}

// flushLocked writes what waits, as far as the kernel takes it.
func (c *conn) flushLocked() {
	l := c.loop
	if c.behindSince > 0 {
		c.expireLocked()
	}
	for !c.blocked && len(c.out.frames) > 0 && c.state != stateClosed {
		bufs := c.out.gather(l.bufs[:])
		want := 0
		for _, b := range bufs {
			want += len(b)
		}
		n, err := c.socket.Write(bufs)
		clear(bufs)
		if done := c.out.advance(n); c.seldom != nil {
			c.wroteLocked(done)
		}
		l.bytesOut += uint64(n) //nolint:gosec // Write returns no negative count.
		if err != nil {
			c.cutLocked()
			return
		}
		c.blocked = n < want
	}
	c.noteBehindLocked()
	if c.state == stateClosing && len(c.out.frames) == 0 {
		c.state = stateFinned
		c.cutLaterLocked(lingerAfterClose)
		// An error here means that the socket is gone, which Closed tells.
		_ = c.socket.CloseWrite()
	}
}

// failLocked closes c for a fault in what it sent.
func (c *conn) failLocked(err error) {
	code, reason := faultCode(err)
	c.closeLocked(code, reason)
}

// noteBehindLocked keeps the time since when c has been behind without a break.
func (c *conn) noteBehindLocked() {
	switch {
	case len(c.out.frames) == 0:
		c.behindSince = 0
	case c.behindSince == 0:
		c.behindSince = momentOf(c.loop.hub.since(time.Now()))
		c.scheduleLocked(c.behindSince.time() + c.loop.hub.opts.OutboundMaxAge)
	}
}

// noteUnfinishedLocked keeps the time since when the message that c receives has
// been unfinished. It is kept with what came of that message, so that it costs
// other connections nothing.
func (c *conn) noteUnfinishedLocked() {
	if mark := c.parser.Mark(); mark != nil && *mark == 0 {
		since := momentOf(c.loop.clock)
		*mark = uint32(since)
		c.scheduleLocked(since.time() + c.loop.hub.opts.MessageTimeout)
	}
}

// unfinishedSince returns when the message that c receives began; 0: there is
// none.
func (c *conn) unfinishedSince() moment {
	if mark := c.parser.Mark(); mark != nil {
		return moment(*mark)
	}
	return 0
}

// sweepLocked looks at the timers of c at the time of its loop's clock.
func (c *conn) sweepLocked() {
	now, o, unfinished := c.loop.clock, &c.loop.hub.opts, c.unfinishedSince()
	c.pruneTrailLocked()
	switch {
	case c.state == stateClosing || c.state == stateFinned:
		if now >= c.nextDue {
			c.socket.Close()
		}
	case c.state == stateOpening:
		if now-c.lastRead > openTimeout {
			c.closeLocked(closeOverloaded, closeReason(closeOverloaded))
		}
	case c.state != stateOpen:
	case now-c.lastRead > o.IdleTimeout:
		c.closeLocked(closePingTimeout, closeReason(closePingTimeout))
	case c.behindSince > 0 && now-c.behindSince.time() > o.OutboundMaxAge:
		c.fallBehindLocked()
	case unfinished > 0 && now-unfinished.time() > o.MessageTimeout:
		c.closeLocked(closePingTimeout, reasonMessageTimeout)
	case c.principal.Expired(c.loop.now):
		c.closeLocked(closeTokenExpired, closeReason(closeTokenExpired))
	case now >= c.nextDue:
		c.nextDue = now + jitter(o.PingInterval)
		c.sendLocked(c.loop.hub.ping)
	}
	c.scheduleLocked(c.nextLocked())
}

// nextLocked returns when the next timer of c is due.
func (c *conn) nextLocked() time.Duration {
	o := &c.loop.hub.opts
	switch c.state {
	case stateOpening:
		return c.lastRead + openTimeout
	case stateClosing, stateFinned:
		return c.nextDue
	}
	next := min(c.nextDue, c.lastRead+o.IdleTimeout)
	if c.behindSince > 0 {
		next = min(next, c.behindSince.time()+o.OutboundMaxAge)
	}
	if unfinished := c.unfinishedSince(); unfinished > 0 {
		next = min(next, unfinished.time()+o.MessageTimeout)
	}
	if expires := c.principal.ExpiresAt(); !expires.IsZero() {
		next = min(next, c.loop.hub.since(expires))
	}
	return next
}

// scheduleLocked makes the wheel name c at the time at, or before.
func (c *conn) scheduleLocked(at time.Duration) {
	w := &c.loop.wheel
	if c.due > w.now && time.Duration(c.due)*tick <= at {
		return
	}
	c.due = w.add(c.slot, at)
}

// jitter spreads d by a twentieth to either side.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(d/10+1) //nolint:gosec // Jitter is no secret.
}

// wants reports whether c takes notifications of this type: it never chose
// types, or chose this one or all.
func (c *conn) wants(kind string) bool {
	types := c.types()
	if types == nil {
		return true
	}
	if _, ok := types[kind]; ok {
		return true
	}
	_, ok := types[allTypes]
	return ok
}

// types returns the notification types that the client subscribed to; nil: it
// never did.
func (c *conn) types() map[string]struct{} {
	if c.seldom == nil {
		return nil
	}
	return c.seldom.notifications
}

// pending returns the joins whose interest is not live yet, oldest first.
func (c *conn) pending() []*pendingJoin {
	if c.seldom == nil {
		return nil
	}
	return c.seldom.pending
}

// own returns c.seldom, and makes it if need be.
func (c *conn) own() *seldom {
	if c.seldom == nil {
		c.seldom = &seldom{}
	}
	return c.seldom
}

// v1 reports whether c speaks more than the plain dialect.
func (c *conn) v1() bool { return c.dialect != handshake.Plain }

// tidyLocked gives c.seldom back if there is nothing in it.
func (c *conn) tidyLocked() {
	if c.seldom != nil && c.seldom.isEmpty() {
		c.seldom = nil
	}
}
