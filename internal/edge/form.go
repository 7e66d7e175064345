package edge

import (
	"bytes"

	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// messageFrame returns m as connections of dialect d get it.
func messageFrame(m *message.Message, d handshake.Dialect, withOffset bool) *frame.Frame {
	switch d {
	case handshake.JSON:
		return frame.Text(appendMessage(make([]byte, 0, len(m.Payload)+256), m, withOffset))
	case handshake.Proto:
		return protoFrame(protoMessage(m, withOffset))
	default:
		return frame.Text(m.Payload)
	}
}

// The ends of payloads: of a message of a client, whose data is an object, and
// of any object.
const (
	endOfData   = "}}"
	endOfObject = "}"
)

// appendMessage appends m in the form of pushd.v1.json. To a message of a client
// its id and offset are added within data, to any other one beside it.
func appendMessage(b []byte, m *message.Message, withOffset bool) []byte {
	text := bytes.TrimRight(m.Payload, " \t")
	within := m.FromClient && bytes.HasSuffix(text, []byte(endOfData))
	end := endOfObject
	if within {
		end = endOfData
	}
	text, ok := bytes.CutSuffix(text, []byte(end))
	if !ok {
		return append(b, m.Payload...) // nothing that pushd made
	}
	b = append(b, text...)
	if channel := m.Target.Channel(); !within && !channel.IsZero() {
		b = appendMember(b, "channel", channel.String())
	}
	b = appendMember(b, "messageId", m.ID.String())
	if withOffset && !m.Position.IsZero() {
		b = appendMember(b, "offset", history.FormatOffset(m.Position.Offset))
	}
	if id := deliveryID(m); id != "" {
		b = appendMember(b, "deliveryId", id)
	}
	return append(b, end...)
}

// deliveryID returns what a client acknowledges m by; empty: nobody asks.
func deliveryID(m *message.Message) string {
	if m.Receipt.Level != message.LevelAcked {
		return ""
	}
	return m.ID.String()
}

// appendMember appends a member with a string value to an object that may have
// others.
func appendMember(b []byte, name, value string) []byte {
	b = appendName(b, name)
	return appendQuoted(b, value)
}

// appendName begins a member of an object that may have others. The name needs
// no escapes.
func appendName(b []byte, name string) []byte {
	if last := bytes.TrimRight(b, " \t"); len(last) > 0 && last[len(last)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, `":`...)
}
