package edge

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
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
func connectionFrame(id message.ID, now time.Time) *frame.Frame {
	b := appendHead(nil, "connection", nil)
	b = append(b, `"connectionId":`...)
	b = appendQuoted(b, id.String())
	b = append(b, `,"timestamp":`...)
	b = appendTime(b, now)
	return frame.Text(append(b, "}}"...))
}

func pongFrame(id jsontext.Value, now time.Time) *frame.Frame {
	b := appendHead(nil, "pong", id)
	b = append(b, `"timestamp":`...)
	b = appendTime(b, now)
	return frame.Text(append(b, "}}"...))
}

// channelFrame answers a join or leave.
func channelFrame(kind string, id jsontext.Value, c address.Channel) *frame.Frame {
	b := appendHead(nil, kind, id)
	b = append(b, `"channel":`...)
	b = appendQuoted(b, c.String())
	return frame.Text(append(b, "}}"...))
}

func typesFrame(id jsontext.Value, types []string) *frame.Frame {
	b := appendHead(nil, "notifications_subscribed", id)
	b = append(b, `"types":[`...)
	for i, kind := range types {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, kind)
	}
	return frame.Text(append(b, "]}}"...))
}

func errorFrame(id jsontext.Value, f *fault) *frame.Frame {
	b := appendHead(nil, "error", id)
	b = append(b, `"error":`...)
	b = appendQuoted(b, f.text)
	b = append(b, `,"code":"`...)
	b = append(b, f.code...)
	return frame.Text(append(b, `"}}`...))
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
