package edge

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
)

// allTypes subscribes to every type of notification.
const allTypes = "all"

// maxFragments bounds the frames of one message from a client.
const maxFragments = 1024

// closeFault ends the connection with a code of its own.
type closeFault struct{ code ws.StatusCode }

// Error implements error.
func (f *closeFault) Error() string { return closeReason(f.code) }

// errDone stops the parser: the connection is closing.
var errDone = errors.New("connection is closing")

// faultCode tells how to close a connection for err.
func faultCode(err error) (ws.StatusCode, string) {
	var wire *frame.Error
	var own *closeFault
	switch {
	case errors.As(err, &wire):
		return wire.Code, wire.Reason
	case errors.As(err, &own):
		return own.code, closeReason(own.code)
	default:
		return ws.StatusInternalServerError, ""
	}
}

// handleLocked takes one message of the current connection. An error ends the
// connection.
func (l *loop) handleLocked(m frame.Message) error {
	c := l.current
	switch m.Op {
	case ws.OpText:
		if c.dialect == handshake.Proto {
			return &frame.Error{Code: ws.StatusUnsupportedData, Reason: "text messages are not supported"}
		}
		return c.messageLocked(m)
	case ws.OpBinary:
		if c.dialect != handshake.Proto {
			return &frame.Error{Code: ws.StatusUnsupportedData, Reason: "binary messages are not supported"}
		}
		return c.messageLocked(m)
	case ws.OpPing, ws.OpPong:
		switch allowed := c.limiter.allow(l.hub.rate, l.clock, 1); {
		case !allowed && c.limiter.flooding():
			return &closeFault{closeRateLimited}
		case allowed && m.Op == ws.OpPing:
			c.sendLocked(frame.Pong(m.Payload))
		default: // a pong has done its work by arriving
		}
	case ws.OpClose:
		c.closeLocked(closeAnswer(m.Payload), "")
	}
	if c.state != stateOpen {
		return errDone
	}
	return nil
}

// closeAnswer returns the code that answers a close frame: the same one, or
// 1000 if there was none. The parser has checked it.
func closeAnswer(payload []byte) ws.StatusCode {
	if len(payload) < 2 {
		return ws.StatusNormalClosure
	}
	return ws.StatusCode(binary.BigEndian.Uint16(payload))
}

// maxEchoed bounds the refused messages that are read only for their id.
const maxEchoed = 1 << 10

// messageLocked takes one message: a request, or several. What is over the rate
// is not even inflated: it must cost less to refuse than to send.
func (c *conn) messageLocked(m frame.Message) error {
	l := c.loop
	l.messagesIn++
	paid := units(len(m.Payload))
	if !c.limiter.allow(l.hub.rate, l.clock, paid) {
		if c.limiter.flooding() {
			return &closeFault{closeRateLimited}
		}
		if m.Compressed() || len(m.Payload) > maxEchoed {
			c.refuseLocked(command{}, errTooFast)
		} else {
			c.refuseBatchLocked(m.Payload)
		}
		return c.stateErr()
	}
	m, err := m.Inflated()
	if err != nil {
		return err
	}
	c.limiter.charge(l.hub.rate, units(len(m.Payload))-paid)
	if err := c.batchLocked(m.Payload); err != nil {
		return err
	}
	return c.stateErr()
}

// answerLocked refuses cmd if err is a *fault, and returns any other error.
func (c *conn) answerLocked(cmd command, err error) error {
	var f *fault
	if errors.As(err, &f) {
		c.refuseLocked(cmd, f)
		return nil
	}
	return err
}

// stateErr stops the parser once c is closing.
func (c *conn) stateErr() error {
	if c.state != stateOpen {
		return errDone
	}
	return nil
}

func (c *conn) refuseLocked(cmd command, f *fault) {
	c.loop.hub.metrics.errorReplies.WithLabelValues(f.code).Inc()
	c.sendLocked(errorFrame(c, cmd, f))
}

// dispatchLocked carries out one command. A *fault refuses it.
func (c *conn) dispatchLocked(cmd command) error {
	switch cmd.kind {
	case "ping":
		c.sendLocked(pongFrame(c, cmd.id, c.loop.now))
		return nil
	case "join_channel":
		return c.joinChannelLocked(cmd)
	case "leave_channel":
		return c.leaveChannelLocked(cmd)
	case "send_message":
		return c.sendMessageLocked(cmd)
	case "subscribe_notifications":
		return c.subscribeLocked(cmd)
	}
	if c.v1() {
		return c.dispatchMoreLocked(cmd)
	}
	return cmd.unknown()
}

// dispatchMoreLocked carries out what the plain dialect does not have.
func (c *conn) dispatchMoreLocked(cmd command) error {
	switch cmd.kind {
	case "unsubscribe_notifications":
		return c.unsubscribeLocked(cmd)
	case "get_history":
		return c.historyLocked(cmd)
	case "ack":
		return c.acknowledgeLocked(cmd)
	case "get_presence", "refresh_token":
		return &fault{codeNotAvailable, "Not available here: " + cmd.kind}
	default:
		return cmd.unknown()
	}
}

// unknown refuses a request of a type that the dialect does not have.
func (cmd command) unknown() error {
	return &fault{codeUnknownType, "Unknown message type: " + clip(cmd.kind, maxRequestID)}
}

// clip cuts s to at most n bytes, at a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
