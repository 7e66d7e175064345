package frame

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Message is one message of a client. Its payload is unmasked, lies in the
// buffer that was read or in the parser's, and is valid only during the call
// that hands it over.
type Message struct {
	// Op is text, binary, close, ping or pong.
	Op ws.OpCode
	// Payload is as it came: Inflated makes sense of a compressed one.
	Payload []byte
	// compressed is nil unless Payload is compressed.
	compressed *Limits
}

// Compressed reports whether the payload is.
func (m Message) Compressed() bool { return m.compressed != nil }

// Inflated returns m with its payload as the client meant it, valid until the
// next call or the end of the call that handed m over. Whoever is given m
// decides whether it is worth the work. The error is an *Error.
func (m Message) Inflated() (Message, error) {
	l := m.compressed
	if l == nil {
		return m, nil
	}
	payload, err := l.Inflater.inflate(m.Payload, l.MaxMessage)
	if err != nil {
		return Message{}, err
	}
	if m.Op == ws.OpText && !utf8.Valid(payload) {
		return Message{}, badText("text is not UTF-8")
	}
	return Message{Op: m.Op, Payload: payload}, nil
}

// Limits bound what a client may send.
type Limits struct {
	// MaxMessage bounds the payload of one message, in bytes over all of its
	// fragments.
	MaxMessage int
	// MaxFragments bounds the frames of one message.
	MaxFragments int
	// Inflater decompresses the messages of a client that has negotiated
	// permessage-deflate; nil: it has not. MaxMessage then bounds the message
	// both as it comes and inflated.
	Inflater *Inflater
}

// Parser reads the frames of one client. Make it with NewParser; it is a
// value, to be embedded and not copied after its first use.
type Parser struct {
	limits *Limits
	// side is nil while nothing is incomplete.
	side *side
}

// side is what a parser holds between two reads.
type side struct {
	// ended says that nothing is taken any more: a close frame came, or err
	// stopped the parser.
	ended bool
	err   error

	// mark is the caller's: see Mark.
	mark uint32

	// head holds the first bytes of a header that is incomplete.
	head    [maxHeader]byte
	headLen int

	// inFrame says that part of the payload of frame is missing; got bytes
	// of it came.
	inFrame bool
	frame   header
	got     int
	// control is what came of the payload of a control frame.
	control []byte

	// op is what the message under way is, 0 if there is none; frames are its
	// frames so far, and message what came of it.
	op         ws.OpCode
	compressed bool
	frames     int
	message    []byte
	text       textCheck
}

// NewParser makes a parser that holds a client to l, which parsers share and
// nobody changes.
func NewParser(l *Limits) Parser { return Parser{limits: l} }

// Feed takes the next bytes of the client and calls on for each message that
// they complete, in order. It changes data, and does not keep it. on must not
// call Feed.
//
// The error is an *Error if the client broke a rule, or what on returned,
// unchanged. It comes after the messages that were complete before it, and it
// ends the parser: every later Feed returns it again. After a close frame
// all bytes are ignored.
func (p *Parser) Feed(data []byte, on func(Message) error) error {
	for len(data) > 0 {
		if p.side != nil && p.side.ended {
			return p.side.err
		}
		n, err := p.step(data, on)
		if err != nil {
			p.end(err)
			return err
		}
		data = data[n:]
	}
	if p.side != nil {
		return p.side.err
	}
	return nil
}

// Mark returns a number for the caller to keep with what is incomplete, a
// message or a frame. It is 0 when that has just begun, and the pointer is nil
// when nothing is incomplete. It is valid until the next Feed.
func (p *Parser) Mark() *uint32 {
	if p.side == nil || p.side.ended {
		return nil
	}
	return &p.side.mark
}

// Held returns how many bytes are kept of what is incomplete, with the room
// that was made for more.
func (p *Parser) Held() int {
	if p.side == nil {
		return 0
	}
	return cap(p.side.message) + cap(p.side.control)
}

// Discard gives up what is incomplete. No Feed may follow; one that is under way
// must end with an error of on.
func (p *Parser) Discard() { p.side = nil }

// step takes one header with what there is of its payload, or more of a
// payload that is incomplete, and returns how many bytes that was.
func (p *Parser) step(data []byte, on func(Message) error) (int, error) {
	s := p.side
	if s != nil && s.inFrame {
		return p.take(data, on)
	}
	if s != nil && s.headLen > 0 {
		return p.resume(data, on)
	}
	h, n, err := p.header(data)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		s = p.grow()
		s.headLen = copy(s.head[:], data)
		return s.headLen, nil
	}
	used, err := p.begin(h, data[n:], on)
	return n + used, err
}

// resume goes on with a header that was cut.
func (p *Parser) resume(data []byte, on func(Message) error) (int, error) {
	s := p.side
	had := s.headLen
	s.headLen += copy(s.head[had:], data)
	h, n, err := p.header(s.head[:s.headLen])
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return s.headLen - had, nil
	}
	s.headLen = 0
	used, err := p.begin(h, data[n-had:], on)
	return n - had + used, err
}

// begin starts on the payload of a frame. A message that is whole in data
// stays there.
func (p *Parser) begin(h header, data []byte, on func(Message) error) (int, error) {
	whole := len(data) >= h.length
	if whole && (h.op.IsControl() || h.fin && h.op != ws.OpContinuation) {
		payload := data[:h.length]
		ws.Cipher(payload, h.mask, 0)
		p.rest()
		return h.length, p.deliver(h.op, h.compressed, payload, on)
	}
	s := p.grow()
	s.inFrame, s.frame, s.got = true, h, 0
	if h.op.IsData() {
		if h.op != ws.OpContinuation {
			s.op, s.compressed = h.op, h.compressed
		}
		s.frames++
	}
	return p.take(data, on)
}

// deliver checks and hands over a message whose text was not checked on the
// way.
func (p *Parser) deliver(op ws.OpCode, compressed bool, payload []byte, on func(Message) error) error {
	if compressed {
		return on(Message{Op: op, Payload: payload, compressed: p.limits})
	}
	switch op {
	case ws.OpText:
		if !utf8.Valid(payload) {
			return badText("text is not UTF-8")
		}
	case ws.OpClose:
		if err := checkClose(payload); err != nil {
			return err
		}
		p.end(nil)
	}
	return on(Message{Op: op, Payload: payload})
}

// take keeps what data holds of the payload of the current frame, and finishes
// the frame if that is all of it.
func (p *Parser) take(data []byte, on func(Message) error) (int, error) {
	s := p.side
	piece := data[:min(len(data), s.frame.length-s.got)]
	ws.Cipher(piece, s.frame.mask, s.got)
	s.got += len(piece)
	missing := s.frame.length - s.got
	if s.frame.op.IsControl() {
		s.control = append(s.control, piece...)
	} else {
		if s.op == ws.OpText && !s.compressed && !s.text.feed(piece) {
			return 0, badText("text is not UTF-8")
		}
		s.keep(piece, missing, p.limits.MaxMessage)
	}
	if missing > 0 {
		return len(piece), nil
	}
	s.inFrame = false
	return len(piece), p.finish(on)
}

// finish hands over what the current frame completes.
func (p *Parser) finish(on func(Message) error) error {
	s := p.side
	if s.frame.op.IsControl() {
		payload := s.control
		s.control = nil
		p.rest()
		return p.deliver(s.frame.op, false, payload, on)
	}
	if !s.frame.fin {
		return nil
	}
	if s.compressed {
		p.side = nil
		return p.deliver(s.op, true, s.message, on)
	}
	if s.op == ws.OpText && !s.text.complete() {
		return badText("text is not UTF-8")
	}
	p.side = nil
	return on(Message{Op: s.op, Payload: s.message})
}

// grow makes room for something incomplete.
func (p *Parser) grow() *side {
	if p.side == nil {
		p.side = new(side)
	}
	return p.side
}

// rest gives the memory back if nothing is incomplete.
func (p *Parser) rest() {
	if p.side != nil && p.side.op == 0 {
		p.side = nil
	}
}

// end stops the parser for good; err is what Feed returns from now on.
func (p *Parser) end(err error) { p.side = &side{ended: true, err: err} }

// minBuffer is the first buffer of a message that came in parts.
const minBuffer = 512

// keep adds piece to the message under way, of whose frame missing bytes are
// still to come. The buffer at most doubles beyond what was received, and ends
// where the message must.
func (s *side) keep(piece []byte, missing, limit int) {
	need := len(s.message) + len(piece)
	if need > cap(s.message) {
		most := limit
		if s.frame.fin {
			most = need + missing
		}
		size := min(max(2*cap(s.message), need, minBuffer), max(most, need))
		grown := make([]byte, len(s.message), size)
		copy(grown, s.message)
		s.message = grown
	}
	s.message = append(s.message, piece...)
}
