package edge

import (
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
)

// Close codes of the protocol. The range tells a client what to do:
// 4000–4099 reconnect now, 4100–4199 back off, 4200–4299 get a new token,
// 4300–4399 stop.
const (
	closeDrain           ws.StatusCode = 4000
	closeOverloaded      ws.StatusCode = 4100
	closeSlowConsumer    ws.StatusCode = 4101
	closePingTimeout     ws.StatusCode = 4102
	closeRateLimited     ws.StatusCode = 4103
	closeTokenExpired    ws.StatusCode = 4200
	closeTokenInvalid    ws.StatusCode = 4201
	closeForbidden       ws.StatusCode = 4301
	closeConnectionLimit ws.StatusCode = 4303
)

// closeReason returns the text that goes with a code. It says nothing of the
// cause beyond the code, so that all bad tokens look alike.
func closeReason(code ws.StatusCode) string {
	switch code {
	case ws.StatusNormalClosure:
		return ""
	case ws.StatusGoingAway:
		return "going away"
	case closeDrain:
		return "drain"
	case closeOverloaded:
		return "overloaded"
	case closeSlowConsumer:
		return "slow_consumer"
	case closePingTimeout:
		return "ping_timeout"
	case closeRateLimited:
		return "rate_limited"
	case closeTokenExpired:
		return "token_expired"
	case closeTokenInvalid:
		return "token_invalid"
	case closeForbidden:
		return "forbidden"
	case closeConnectionLimit:
		return "connection_limit"
	default:
		return ""
	}
}

// reasonMessageTimeout goes with closePingTimeout when the client is alive, but
// has not finished a message that it began.
const reasonMessageTimeout = "message_timeout"

const (
	// lingerAfterClose is how long a closed connection may take to answer our
	// close frame before its socket is cut.
	lingerAfterClose = time.Second
	// flushBeforeClose is how long what was queued may take to go out first.
	flushBeforeClose = 5 * time.Second
	// comeBackWithin spreads the reconnects of those that are sent away at the
	// same moment.
	comeBackWithin = time.Second
)

// closeLocked ends c with a close frame. What is queued goes out first, except
// for a slow consumer, which loses its queue. Caller holds the loop's mutex.
func (c *conn) closeLocked(code ws.StatusCode, reason string) {
	if c.state >= stateClosing {
		return
	}
	greeted := c.state == stateOpen
	c.detachLocked()
	c.state = stateClosing
	l := c.loop
	c.parser.Discard()
	l.hub.metrics.closed(code, reason)
	if code == closeSlowConsumer {
		l.lose(dropSlowConsumer, c.out.discard())
		c.cutTrailLocked()
	}
	c.cutLaterLocked(flushBeforeClose)
	if code == closeDrain && greeted && c.v1() {
		c.out.push(goingAwayFrame(c, rand.N(comeBackWithin), reason)) //nolint:gosec // Jitter is no secret.
	}
	c.out.push(frame.Close(code, reason))
	l.markDirty(c)
}

// cutLaterLocked makes d the time that a closing connection has left.
func (c *conn) cutLaterLocked(d time.Duration) {
	c.nextDue = c.loop.hub.since(time.Now()) + d
	c.scheduleLocked(c.nextDue)
}

// cutLocked ends c without a close frame. Caller holds the loop's mutex.
func (c *conn) cutLocked() {
	if c.state < stateClosing {
		c.loop.hub.metrics.closed(ws.StatusAbnormalClosure, "")
		c.detachLocked()
		c.state = stateClosing
	}
	c.socket.Close()
}

// detachLocked takes c out of every target. From here on nothing is queued for
// it but its close frame. It is called once, on the way to stateClosing.
func (c *conn) detachLocked() {
	l := c.loop
	l.shard.LeaveAll(c.slot, l.releaseLocked)
	c.unfollowAllLocked()
	l.hub.bus.Release(address.AllTarget())
}
