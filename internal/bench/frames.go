package bench

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"
)

// keep is how much of a payload is looked at, in bytes: enough for a stamp with
// what stands before it, and for any control frame.
const keep = 256

var (
	errMasked     = errors.New("the server masked a frame")
	errReserved   = errors.New("the server set a reserved bit, but nothing was negotiated")
	errFragmented = errors.New("the server sent a message in fragments")
	errLength     = errors.New("the server sent a frame longer than a frame can be")
)

// frame is one complete frame from the server.
type frame struct {
	op ws.OpCode
	// head is the beginning of the payload, at most keep bytes. It is valid
	// until the next call.
	head []byte
}

// scanner finds the frames in what is read from one connection, wherever the
// reads cut them. It copies nothing while frames come whole.
type scanner struct {
	// partial is the header of a frame that is not complete, and what was kept
	// of its payload.
	partial []byte
	// known says that partial has the whole header; then size is its length
	// and left counts the payload bytes that are to come.
	known bool
	op    ws.OpCode
	size  int
	left  uint64
}

// next takes the next frame from p and returns what follows it. Without ok p
// is used up and more must be read.
func (s *scanner) next(p []byte) (f frame, rest []byte, ok bool, err error) {
	if len(s.partial) > 0 {
		return s.resume(p)
	}
	op, size, length, err := parseHeader(p)
	if err != nil {
		return frame{}, nil, false, err
	}
	if size == 0 || uint64(len(p)-size) < length { //nolint:gosec // size is at most len(p).
		return s.resume(p)
	}
	end := size + int(length) //nolint:gosec // At most len(p).
	return frame{op, p[size:min(end, size+keep)]}, p[end:], true, nil
}

// resume is next for a frame that does not come whole.
func (s *scanner) resume(p []byte) (f frame, rest []byte, ok bool, err error) {
	for !s.known {
		if len(p) == 0 {
			return frame{}, nil, false, nil
		}
		s.partial = append(s.partial, p[0])
		p = p[1:]
		if s.op, s.size, s.left, err = parseHeader(s.partial); err != nil {
			return frame{}, nil, false, err
		}
		s.known = s.size > 0
	}
	n := int(min(s.left, uint64(len(p)))) //nolint:gosec // At most len(p).
	s.left -= uint64(n)
	room := s.size + keep - len(s.partial)
	s.partial = append(s.partial, p[:min(n, room)]...)
	if s.left > 0 {
		return frame{}, nil, false, nil
	}
	f = frame{s.op, s.partial[s.size:]}
	s.partial, s.known = s.partial[:0], false
	return f, p[n:], true, nil
}

// parseHeader reads the header at the start of p. A size of 0 means that p is
// too short for it.
func parseHeader(p []byte) (op ws.OpCode, size int, length uint64, err error) {
	if len(p) < 2 {
		return 0, 0, 0, nil
	}
	op = ws.OpCode(p[0] & 0x0f)
	switch {
	case p[0]&0x70 != 0:
		return 0, 0, 0, errReserved
	case p[0]&0x80 == 0 || op == ws.OpContinuation:
		return 0, 0, 0, errFragmented
	case p[1]&0x80 != 0:
		return 0, 0, 0, errMasked
	}
	switch short := p[1]; {
	case short < 126:
		return op, 2, uint64(short), nil
	case short == 126 && len(p) >= 4:
		return op, 4, uint64(binary.BigEndian.Uint16(p[2:])), nil
	case short == 127 && len(p) >= 10:
		length = binary.BigEndian.Uint64(p[2:])
		if length>>63 != 0 {
			return 0, 0, 0, errLength
		}
		return op, 10, length, nil
	default:
		return 0, 0, 0, nil
	}
}
