package edge

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// timestampFormat is RFC 3339 in UTC with milliseconds, as JavaScript's
// toISOString writes it.
const timestampFormat = "2006-01-02T15:04:05.000Z"

// appendQuoted appends s as a JSON string. s is valid UTF-8 by the rules of
// the names and of text frames.
func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, timestampFormat)
	return append(b, '"')
}

// appendHead begins a message: its type, the id of the request that it
// answers if there is one, and the opening of its data.
func appendHead(b []byte, kind string, id jsontext.Value) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	if id != nil {
		b = append(b, `,"id":`...)
		b = append(b, id...)
	}
	return append(b, `,"data":{`...)
}

// connectionFrame is the first message of a connection.
func connectionFrame(c *conn, now time.Time) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoConnection(c, now)
	}
	b := appendHead(nil, "connection", nil)
	b = appendMember(b, "connectionId", c.id.String())
	b = appendTime(appendName(b, "timestamp"), now)
	if c.v1() {
		b = appendIdentity(b, c)
	}
	return frame.Text(append(b, endOfData...))
}

// appendIdentity appends who c is and what holds for it.
func appendIdentity(b []byte, c *conn) []byte {
	p, o := c.principal, &c.loop.hub.opts
	if !p.User.IsZero() {
		b = appendMember(b, "userId", p.User.String())
	}
	b = appendMember(b, "tenantId", p.Tenant.String())
	if expires := p.ExpiresAt(); !expires.IsZero() {
		b = appendTime(appendName(b, "tokenExpiresAt"), expires)
	}
	b = strconv.AppendInt(appendName(b, "pingInterval"), o.PingInterval.Milliseconds(), 10)
	return strconv.AppendInt(appendName(b, "maxMessageBytes"), int64(o.MaxMessageBytes), 10)
}

func pongFrame(c *conn, id jsontext.Value, now time.Time) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoPong(id, now)
	}
	b := appendHead(nil, "pong", id)
	b = appendTime(appendName(b, "timestamp"), now)
	return frame.Text(append(b, endOfData...))
}

func channelLeftFrame(c *conn, id jsontext.Value, channel address.Channel) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoChannelLeft(id, channel)
	}
	b := appendHead(nil, "channel_left", id)
	b = appendMember(b, "channel", channel.String())
	return frame.Text(append(b, endOfData...))
}

// notificationsUnsubscribedFrame is not for the plain dialect.
func notificationsUnsubscribedFrame(c *conn, id jsontext.Value, types []string) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoUnsubscribed(id, types)
	}
	b := appendTypes(appendHead(nil, "notifications_unsubscribed", id), types)
	return frame.Text(append(b, endOfData...))
}

// messageSentFrame answers a message that was accepted at the time at. It has no
// id when it is a duplicate of one that is no longer kept. It is not for the plain
// dialect.
func messageSentFrame(c *conn, request command, a message.Accepted, at time.Time) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoSent(request, a, at)
	}
	b := appendHead(nil, "message_sent", request.id)
	b = appendMember(b, "channel", request.about.String())
	if !a.ID.IsZero() {
		b = appendMember(b, "messageId", a.ID.String())
	}
	if !a.Position.IsZero() {
		b = appendMember(b, "offset", history.FormatOffset(a.Position.Offset))
		b = appendMember(b, "epoch", a.Position.Epoch)
	}
	b = appendTime(appendName(b, "timestamp"), at)
	b = appendBool(b, "duplicate", a.Duplicate)
	return frame.Text(append(b, endOfData...))
}

// goingAwayFrame comes before a close that is no fault of the client. It is not
// for the plain dialect.
func goingAwayFrame(c *conn, retryAfter time.Duration, reason string) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoGoingAway(retryAfter, reason)
	}
	b := appendHead(nil, "going_away", nil)
	b = strconv.AppendInt(appendName(b, "retryAfter"), retryAfter.Milliseconds(), 10)
	b = appendMember(b, "reason", reason)
	return frame.Text(append(b, endOfData...))
}

// errorFrame refuses cmd for f.
func errorFrame(c *conn, cmd command, f *fault) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoError(cmd, f, c.retryAfterLocked(f.code))
	}
	b := appendHead(nil, "error", cmd.id)
	b = appendMember(b, "error", f.text)
	b = appendMember(b, "code", f.code)
	if c.v1() {
		retryAfter := c.retryAfterLocked(f.code)
		b = appendBool(b, "retryable", retryAfter > 0)
		if retryAfter > 0 {
			b = strconv.AppendInt(appendName(b, "retryAfter"), retryAfter.Milliseconds(), 10)
		}
		if kind := clip(cmd.kind, maxRequestID); kind != "" {
			b = appendMember(b, "type", kind)
		}
		if channel := cmd.subject(); channel != "" {
			b = appendMember(b, "channel", channel)
		}
	}
	return frame.Text(append(b, endOfData...))
}

// retryUnavailable is when to try again what the node could not do.
const retryUnavailable = time.Second

// retryAfterLocked returns how long a client should wait before it repeats what
// was refused with this code, in whole milliseconds; 0: repeating does not help.
func (c *conn) retryAfterLocked(code string) time.Duration {
	switch code {
	case codeRateLimited:
		wait := c.limiter.wait(c.loop.hub.rate, c.loop.clock)
		return (wait + time.Millisecond).Truncate(time.Millisecond)
	case codeUnavailable:
		return retryUnavailable
	default:
		return 0
	}
}

// channelMessage is what the members of a channel see of a client's message.
func channelMessage(c *conn, channel address.Channel, text []byte, now time.Time) []byte {
	b := make([]byte, 0, len(text)+len(channel.String())+256)
	b = appendHead(b, "channel_message", nil)
	b = append(b, `"channel":`...)
	b = appendQuoted(b, channel.String())
	b = append(b, `,"message":`...)
	b = append(b, text...)
	b = append(b, `,"sender":{`...)
	if !c.principal.User.IsZero() {
		b = append(b, `"id":`...)
		b = appendQuoted(b, c.principal.User.String())
		b = append(b, ',')
	}
	b = append(b, `"connectionId":`...)
	b = appendQuoted(b, c.id.String())
	b = append(b, `},"timestamp":`...)
	b = appendTime(b, now)
	return append(b, "}}"...)
}
