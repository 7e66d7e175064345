package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// limits are those of most tests; small, so that tests reach them.
var limits = frame.Limits{MaxMessage: 300, MaxFragments: 4}

// raw is a masked frame whose first byte is b0.
func raw(b0 byte, payload string) []byte {
	h := ws.Header{
		Fin:    b0&0x80 != 0,
		Rsv:    b0 >> 4 & 7,
		OpCode: ws.OpCode(b0 & 15),
		Masked: true,
		Mask:   [4]byte{0xA1, 0x02, 0xFE, 0x77},
		Length: int64(len(payload)),
	}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		return nil
	}
	body := []byte(payload)
	ws.Cipher(body, h.Mask, 0)
	return append(b.Bytes(), body...)
}

// First bytes of frames: final, and with more to come.
const (
	text, moreText     = 0x81, 0x01
	binaryF, moreBin   = 0x82, 0x02
	cont, moreCont     = 0x80, 0x00
	closeF, ping, pong = 0x88, 0x89, 0x8A
)

// closeBody is the payload of a close frame.
func closeBody(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// outcome is all that came of some bytes: the messages and how it ended.
type outcome struct {
	messages []string
	code     ws.StatusCode // 0: no error
}

func (o outcome) String() string { return fmt.Sprintf("%q then %d", o.messages, o.code) }

func (o outcome) equal(x outcome) bool {
	return o.code == x.code && slices.Equal(o.messages, x.messages)
}

func event(op ws.OpCode, payload []byte) string { return fmt.Sprintf("%x:%s", byte(op), payload) }

// feed gives data to a new parser, cut at the given places, and checks that an
// error stays.
func feed(tb testing.TB, l frame.Limits, data []byte, cuts ...int) outcome {
	tb.Helper()
	p := frame.NewParser(&l)
	var o outcome
	on := func(m frame.Message) error {
		o.messages = append(o.messages, event(m.Op, m.Payload))
		return nil
	}
	from := 0
	for _, to := range append(slices.Clone(cuts), len(data)) {
		// A copy with nothing behind it: the parser may change it, and must
		// not reach beyond it.
		chunk := slices.Clip(slices.Clone(data[from:to]))
		err := p.Feed(chunk, on)
		for i := range chunk {
			chunk[i] = 0xEE // nothing of it may be kept
		}
		if err != nil {
			var wire *frame.Error
			if !errors.As(err, &wire) {
				tb.Fatalf("error of type %T: %v", err, err)
			}
			o.code = wire.Code
			before := len(o.messages)
			again := p.Feed(raw(text, "late"), on)
			if again != err || len(o.messages) != before {
				tb.Fatalf("after %v: got %v and %d more messages", err, again, len(o.messages)-before)
			}
			return o
		}
		from = to
	}
	return o
}

// reference reads data in the plainest way: one header after the other with
// gobwas, all in memory.
func reference(l frame.Limits, data []byte) outcome {
	r := reader{limits: l, rest: slices.Clone(data)}
	for len(r.rest) > 0 && r.out.code == 0 && !r.closed {
		if !r.frame() {
			break
		}
	}
	return r.out
}

type reader struct {
	limits  frame.Limits
	rest    []byte
	out     outcome
	closed  bool
	op      ws.OpCode
	count   int
	message []byte
}

func (r *reader) fail(code ws.StatusCode) bool {
	r.out.code = code
	return false
}

// frame reads one frame and reports whether there may be another.
func (r *reader) frame() bool {
	b0 := r.rest[0]
	op, fin := ws.OpCode(b0&15), b0&0x80 != 0
	switch {
	case b0&0x70 != 0, op.IsReserved(), op.IsControl() && !fin:
		return r.fail(ws.StatusProtocolError)
	case op.IsData() && (op == ws.OpContinuation) != (r.op != 0):
		return r.fail(ws.StatusProtocolError)
	case op == ws.OpContinuation && r.count == r.limits.MaxFragments:
		return r.fail(ws.StatusMessageTooBig)
	case len(r.rest) < 2:
		return false
	case r.rest[1]&0x80 == 0, op.IsControl() && r.rest[1]&0x7F > 125:
		return r.fail(ws.StatusProtocolError)
	}
	// The mask may be missing: the rules for the length come before it.
	stream := bytes.NewReader(append(slices.Clone(r.rest), 0, 0, 0, 0))
	h, err := ws.ReadHeader(stream)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	if err != nil || !minimal(h.Length, r.rest[1]&0x7F) {
		return r.fail(ws.StatusProtocolError)
	}
	if op.IsData() && h.Length > int64(r.limits.MaxMessage-len(r.message)) {
		return r.fail(ws.StatusMessageTooBig)
	}
	size := ws.HeaderSize(h)
	if len(r.rest) < size {
		return false
	}
	whole := len(r.rest)-size >= int(h.Length)
	payload := slices.Clone(r.rest[size:min(len(r.rest), size+int(h.Length))])
	for i := range payload {
		payload[i] ^= h.Mask[i%4]
	}
	r.rest = r.rest[size+len(payload):]
	if op.IsControl() {
		return whole && r.control(op, payload)
	}
	if op != ws.OpContinuation {
		r.op = op
	}
	r.count++
	r.message = append(r.message, payload...)
	done := whole && fin
	if r.op == ws.OpText && !validSoFar(r.message, done) {
		return r.fail(ws.StatusInvalidFramePayloadData)
	}
	if done {
		r.out.messages = append(r.out.messages, event(r.op, r.message))
		r.op, r.count, r.message = 0, 0, nil
	}
	return whole
}

func (r *reader) control(op ws.OpCode, payload []byte) bool {
	if op == ws.OpClose {
		if len(payload) == 1 {
			return r.fail(ws.StatusProtocolError)
		}
		if len(payload) > 1 {
			code := int(payload[0])<<8 | int(payload[1])
			if code < 1000 || code == 1004 || code == 1005 || code == 1006 || code > 1014 && code < 3000 || code > 4999 {
				return r.fail(ws.StatusProtocolError)
			}
			if !utf8.Valid(payload[2:]) {
				return r.fail(ws.StatusInvalidFramePayloadData)
			}
		}
		r.closed = true
	}
	r.out.messages = append(r.out.messages, event(op, payload))
	return !r.closed
}

func minimal(length int64, short byte) bool {
	switch short {
	case 126:
		return length > 125
	case 127:
		return length > 65535
	}
	return true
}

// validSoFar decodes from the start, one character after the other.
func validSoFar(b []byte, complete bool) bool {
	for len(b) > 0 {
		if !utf8.FullRune(b) {
			return !complete
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		b = b[n:]
	}
	return true
}
