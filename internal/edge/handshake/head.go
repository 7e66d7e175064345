package handshake

import (
	"fmt"
	"io"
	"net/http"
)

// usualHeadBytes is the size of the pooled buffers. Heads of browsers with a
// token and some cookies fit; a larger one grows its own.
const usualHeadBytes = 2 << 10

// maxEmptyReads bounds reads that give neither bytes nor an error.
const maxEmptyReads = 100

// headReader reads the head of one request and not a byte more than its
// bounds allow. What comes out does not depend on how the bytes were cut.
type headReader struct {
	maxBytes, maxHeaders int

	pos   int // bytes looked at
	start int // where the line at pos begins
	lines int // complete lines before start
}

// read appends to buf until the blank line and returns all that was read and
// where the head ends in it. The error is a *Rejection for a head that breaks
// the bounds or can't be one.
func (h *headReader) read(r io.Reader, buf []byte) (data []byte, end int, err error) {
	empty := 0
	for len(buf) < h.maxBytes {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), minHeadBytes), h.maxBytes))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), h.maxBytes)])
		buf = buf[:len(buf)+n]
		end, rej := h.scan(buf)
		switch {
		case rej != nil:
			return buf, 0, rej
		case end > 0:
			return buf, end, nil
		case err != nil:
			return buf, 0, fmt.Errorf("read request head: %w", err)
		case n > 0:
			empty = 0
		case empty == maxEmptyReads:
			return buf, 0, fmt.Errorf("read request head: %w", io.ErrNoProgress)
		default:
			empty++
		}
	}
	return buf, 0, reject(http.StatusRequestHeaderFieldsTooLarge, ReasonTooLarge, "request head too large")
}

// scan looks at the bytes of buf that are new. end is not 0 when the blank
// line is among them.
func (h *headReader) scan(buf []byte) (end int, rej *Rejection) {
	for ; h.pos < len(buf); h.pos++ {
		c := buf[h.pos]
		afterCR := h.pos > h.start && buf[h.pos-1] == '\r'
		switch {
		case c == '\n' && !afterCR, c != '\n' && afterCR:
			return 0, malformed("lines must end in CRLF")
		case c == '\n':
			if h.pos-h.start == 1 {
				return h.blank()
			}
			if h.lines > h.maxHeaders {
				return 0, reject(http.StatusRequestHeaderFieldsTooLarge, ReasonTooMany, "too many header fields")
			}
			h.lines++
			h.start = h.pos + 1
		case c != '\r' && isControl(c):
			return 0, malformed("control character in the request head")
		}
	}
	return 0, nil
}

// blank ends the head at the blank line under pos.
func (h *headReader) blank() (end int, rej *Rejection) {
	if h.lines == 0 {
		return 0, malformed("empty request line")
	}
	return h.pos + 1, nil
}

// isControl reports the bytes that may stand nowhere in a line. What is
// beyond ASCII may stand in values.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }
