package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// The JSON text of a message is {"n":"<stamp>","pad":"x…"}.
const (
	stampMark = `"n":"`
	stampSize = 32
	head      = "{" + stampMark
	middle    = `","pad":"`
	tail      = `"}`
	// MinPayload is the size of the smallest message, in bytes.
	MinPayload = len(head) + stampSize + len(middle) + len(tail)
)

// Message is one message that a scenario sends.
type Message struct {
	// Seq counts the messages of a scenario from 0.
	Seq uint64
	// Due is when it is to be sent, since a moment of the scenario's choice.
	Due time.Duration
	// Bytes is the size of its JSON text, at least MinPayload.
	Bytes int
}

// Stamp returns what tells the message from others: 16 hexadecimal digits each
// of Seq and Due.
func (m Message) Stamp() [stampSize]byte {
	var raw [stampSize / 2]byte
	binary.BigEndian.PutUint64(raw[:], m.Seq)
	binary.BigEndian.PutUint64(raw[8:], uint64(m.Due)) //nolint:gosec // Read back as it was.
	var text [stampSize]byte
	hex.Encode(text[:], raw[:])
	return text
}

// JSON returns the text of the message, an object. The stamp stands at
// StampOffset.
func (m Message) JSON() string {
	stamp := m.Stamp()
	var b strings.Builder
	b.Grow(m.Bytes)
	b.WriteString(head)
	b.Write(stamp[:])
	b.WriteString(middle)
	b.WriteString(strings.Repeat("x", m.Bytes-MinPayload))
	b.WriteString(tail)
	return b.String()
}

// StampOffset is where the stamp stands in the JSON text of a message, in
// bytes.
const StampOffset = len(head)

// readStamp finds the stamp in the beginning of a message as it arrives, with
// whatever the server put around it. Other messages have none.
func readStamp(text []byte) (seq uint64, due time.Duration, ok bool) {
	at := bytes.Index(text, []byte(stampMark))
	if at < 0 || len(text) < at+len(stampMark)+stampSize {
		return 0, 0, false
	}
	stamp := text[at+len(stampMark):][:stampSize]
	var words [2]uint64
	for i, c := range stamp {
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		default:
			return 0, 0, false
		}
		words[i/16] = words[i/16]<<4 | uint64(digit)
	}
	return words[0], time.Duration(words[1]), true //nolint:gosec // It was a duration when it was written.
}
