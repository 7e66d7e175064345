package frame

import (
	"encoding/binary"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// maxControl bounds the payload of ping, pong and close.
	maxControl = ws.MaxControlFramePayloadSize
	// maxReason is what the code leaves of that.
	maxReason = maxControl - 2
)

const (
	finBit  = 0x80
	maskBit = 0x80
	// length16 and length64 say that the length follows in 2 or 8 bytes.
	length16 = 126
	length64 = 127
)

// Frame is one message to clients: a whole frame that is final and unmasked.
// It is immutable, once it is shared, and safe for concurrent use.
type Frame struct {
	// plain is the frame as a client without extensions gets it.
	plain []byte
	// deadline is in Unix nanoseconds; 0: none.
	deadline int64
	// deflated is the frame for clients with permessage-deflate, made once when
	// the first of them gets it.
	once     sync.Once
	deflated []byte
}

// Text makes a text message. It copies payload, which must be valid UTF-8.
func Text(payload []byte) *Frame { return build(ws.OpText, payload) }

// Binary makes a binary message. It copies payload.
func Binary(payload []byte) *Frame { return build(ws.OpBinary, payload) }

// Ping makes a ping. It copies payload, of which at most 125 bytes go out.
func Ping(payload []byte) *Frame {
	return build(ws.OpPing, payload[:min(len(payload), maxControl)])
}

// Pong makes the answer to a ping. It copies payload, of which at most 125
// bytes go out.
func Pong(payload []byte) *Frame {
	return build(ws.OpPong, payload[:min(len(payload), maxControl)])
}

// Close makes a close frame. The reason is UTF-8 and is cut to 123 bytes, at a
// character. A code that stands for the lack of one (0, 1005, 1006 and 1015)
// makes an empty close frame.
func Close(code ws.StatusCode, reason string) *Frame {
	switch code {
	case 0, ws.StatusNoStatusRcvd, ws.StatusAbnormalClosure, ws.StatusTLSHandshake:
		return build(ws.OpClose, nil)
	}
	reason = cut(reason, maxReason)
	body := make([]byte, 0, maxControl)
	body = binary.BigEndian.AppendUint16(body, uint16(code))
	return build(ws.OpClose, append(body, reason...))
}

// Raw makes what goes out as it is, before any frame: the answer to an upgrade.
// It keeps answer, which begins with "HTTP".
func Raw(answer []byte) *Frame { return &Frame{plain: answer} }

// Until makes deadline the time after which f must not be written any more; the
// zero time: none. Only who made f may call it, before anybody else has f.
func (f *Frame) Until(deadline time.Time) {
	f.deadline = 0
	if !deadline.IsZero() {
		f.deadline = deadline.UnixNano()
	}
}

// Expired reports whether the deadline of f has passed at now.
func (f *Frame) Expired(now time.Time) bool { return f.deadline != 0 && now.UnixNano() > f.deadline }

// IsMessage reports whether f is text or binary, no ping, pong or close. What Raw
// made is none either: the H of its HTTP has the bits of a close.
func (f *Frame) IsMessage() bool { return f.plain[0]&0x0F <= byte(ws.OpBinary) }

// Bytes returns the whole frame. The caller must not change it.
func (f *Frame) Bytes() []byte { return f.plain }

// Len returns the length of Bytes.
func (f *Frame) Len() int { return len(f.plain) }

func build(op ws.OpCode, payload []byte) *Frame {
	n := len(payload)
	b := make([]byte, 0, ws.HeaderSize(ws.Header{Length: int64(n)})+n)
	b = append(b, finBit|byte(op))
	switch {
	case n < length16:
		b = append(b, byte(n))
	case n <= math.MaxUint16:
		b = append(b, length16)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, length64)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return &Frame{plain: append(b, payload...)}
}

// cut shortens s to at most n bytes, at a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
