package frame

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// maxHeader is the longest header: two bytes, a 64-bit length and a mask.
const maxHeader = 14

// header is what stands before the payload of a client's frame.
type header struct {
	mask   [4]byte
	length int
	op     ws.OpCode
	fin    bool
	// compressed says that a compressed message begins here.
	compressed bool
}

// header reads the header that b begins with and returns its length, or 0 if
// b does not hold all of it. The rules are applied in the order of the bytes
// and as soon as they can be, so the first broken one is the same however the
// bytes were cut. Reading the same header twice does no harm.
func (p *Parser) header(b []byte) (h header, n int, err error) {
	h.fin = b[0]&finBit != 0
	h.op = ws.OpCode(b[0] & 0x0F)
	h.compressed = b[0]&compressedBit != 0
	if err = p.checkStart(b[0], h); err != nil || len(b) < 2 {
		return h, 0, err
	}
	if b[1]&maskBit == 0 {
		return h, 0, protocolError("frame is not masked")
	}
	short := b[1] &^ maskBit
	if h.op.IsControl() && short > maxControl {
		return h, 0, protocolError("control frame is too long")
	}
	length, n := uint64(short), 2
	switch short {
	case length16:
		n = 4
	case length64:
		n = 10
	}
	if len(b) < n {
		return h, 0, nil
	}
	if length, err = extended(b[2:n], length); err != nil {
		return h, 0, err
	}
	if h.op.IsData() && length > p.room() {
		return h, 0, tooBig("message is too large")
	}
	h.length = int(length) //nolint:gosec // it fits: it is not above the limit of a message, an int
	if len(b) < n+len(h.mask) {
		return h, 0, nil
	}
	return h, n + copy(h.mask[:], b[n:]), nil
}

// extended reads a length that has its own bytes; short is the length if b is
// empty.
func extended(b []byte, short uint64) (uint64, error) {
	length, least := short, uint64(0)
	switch len(b) {
	case 2:
		length, least = uint64(binary.BigEndian.Uint16(b)), length16
	case 8:
		length, least = binary.BigEndian.Uint64(b), 1<<16
	}
	switch {
	case length>>63 != 0:
		return 0, protocolError("highest bit of the frame length is set")
	case length < least:
		return 0, protocolError("frame length is not minimal")
	}
	return length, nil
}

// checkStart applies the rules for the first byte of a frame.
func (p *Parser) checkStart(b byte, h header) error {
	inside := p.side != nil && p.side.op != 0
	switch {
	case b&0x70 != 0 && (!h.compressed || !p.mayCompress(b, h.op)):
		return protocolError("reserved bit is set")
	case h.op.IsReserved():
		return protocolError("opcode is reserved")
	case h.op.IsControl():
		if !h.fin {
			return protocolError("control frame is fragmented")
		}
	case h.op != ws.OpContinuation:
		if inside {
			return protocolError("message begins inside another")
		}
	case !inside:
		return protocolError("continuation without a message")
	case p.side.frames >= p.limits.MaxFragments:
		return tooBig("message has too many fragments")
	}
	return nil
}

// mayCompress reports whether a frame that begins with b may have RSV1 set: the
// first of a data message, after the extension was negotiated, with no other
// reserved bit (RFC 7692, section 6).
func (p *Parser) mayCompress(b byte, op ws.OpCode) bool {
	return p.limits.Inflater != nil && b&0x30 == 0 && (op == ws.OpText || op == ws.OpBinary)
}

// room returns how many bytes the message under way may still take.
func (p *Parser) room() uint64 {
	room := p.limits.MaxMessage
	if p.side != nil {
		room -= len(p.side.message)
	}
	return uint64(max(0, room))
}
