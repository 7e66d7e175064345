package bench

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gobwas/ws"
)

// maxHead bounds the head of the server's HTTP answer, in bytes.
const maxHead = 8 << 10

// The key that all clients send and the answer that proves a WebSocket server:
// the example of RFC 6455.
const (
	upgradeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	upgradeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Client says how one connection is made.
type Client struct {
	// Addr is the server.
	Addr netip.AddrPort
	// Source is the address to connect from; the zero Addr leaves it to the
	// system.
	Source netip.Addr
	// TLS is spoken with these settings, which are shared and not changed; nil: it
	// is not.
	TLS *tls.Config
	// Request is the HTTP request that asks for the upgrade. Empty: the server
	// sends frames from the start.
	Request []byte
	// Join is sent after the upgrade; it may be empty.
	Join []byte
	// Ready is what the message holds that says the client is set up.
	Ready []byte
	// Missed is how many messages have to come after that, before the client is
	// set up: those numbered from 1 to Missed, in order.
	Missed int
}

// state is how far a session is.
type state int

const (
	stateUpgrading state = iota
	stateJoining
	stateRecovering
	stateReady
)

// session is the client's side of one connection, without the socket. It
// belongs to whoever reads the socket.
type session struct {
	client Client
	// due is when the connection is to be asked for, in an open loop; 0: as soon
	// as there is room.
	due time.Duration
	// began is when that was: what it takes is measured from here.
	began time.Duration
	// asked is when Join was sent.
	asked time.Duration
	state state
	// missed counts what has come of Missed.
	missed int
	// answer is what has come of the HTTP answer.
	answer []byte
	scan   scanner
}

func newSession(c Client) *session {
	s := &session{client: c}
	if len(c.Request) == 0 {
		s.state = stateJoining
	}
	return s
}

// begin says that the connection is asked for now. In an open loop that may be
// late, and what was due is what counts.
func (s *session) begin(now time.Duration) {
	s.began = now
	if s.due > 0 {
		s.began = s.due
	}
}

// lost says what it means that the server ended the connection.
func (s *session) lost() error {
	if s.state == stateUpgrading {
		return errUnanswered
	}
	return errLost
}

// receive takes what was read at a time and returns what is to be written. An
// error ends the connection.
func (s *session) receive(p []byte, at time.Duration, to *pool) (reply []byte, err error) {
	if s.state == stateUpgrading {
		if p, reply, err = s.upgrade(p, at); err != nil {
			return nil, err
		}
	}
	for {
		f, rest, ok, err := s.scan.next(p)
		if err != nil || !ok {
			return reply, err
		}
		p = rest
		switch f.op {
		case ws.OpText, ws.OpBinary:
			err = s.message(f.head, at, to)
		case ws.OpPing:
			reply = append(reply, clientFrame(ws.NewPongFrame(f.head))...)
		case ws.OpClose:
			err = closeError(f.head)
		case ws.OpPong, ws.OpContinuation:
		}
		if err != nil {
			return nil, err
		}
	}
}

// upgrade takes the HTTP answer. What follows it is returned, and what is to
// be sent next.
func (s *session) upgrade(p []byte, at time.Duration) (rest, reply []byte, err error) {
	s.answer = append(s.answer, p...)
	head, rest, ok := bytes.Cut(s.answer, []byte("\r\n\r\n"))
	switch {
	case !ok && len(s.answer) > maxHead:
		return nil, nil, errors.New("the server's HTTP answer does not end")
	case !ok:
		return nil, nil, nil
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")):
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return nil, nil, fmt.Errorf("the server refused the upgrade: %q", line)
	case !bytes.Contains(head, []byte(upgradeAccept)):
		return nil, nil, errors.New("the server's answer has no right Sec-WebSocket-Accept")
	}
	s.state, s.asked, s.answer, s.client.Request = stateJoining, at, nil, nil
	return rest, s.client.Join, nil
}

// message takes one message of the server.
func (s *session) message(text []byte, at time.Duration, to *pool) error {
	switch {
	case s.state == stateReady:
		if seq, due, ok := readStamp(text); ok {
			to.message(seq, due, at)
		}
	case s.state == stateRecovering:
		return s.recover(text, at, to)
	case bytes.Contains(text, s.client.Ready):
		if s.client.Missed > 0 {
			s.state = stateRecovering
			return nil
		}
		s.state = stateReady
		to.ready(s, at)
	case bytes.Contains(text, []byte(`"recovered":false`)):
		return fmt.Errorf("the server can't recover: %s", text)
	case bytes.Contains(text, []byte(`"type":"error"`)):
		return fmt.Errorf("the server refused to set up a client: %s", text)
	}
	return nil
}

// recover takes a message while some are missing.
func (s *session) recover(text []byte, at time.Duration, to *pool) error {
	seq, _, ok := readStamp(text)
	if !ok {
		return fmt.Errorf("the server sent this among what was missed: %s", text)
	}
	s.missed++
	if seq != uint64(s.missed) { //nolint:gosec // Not negative.
		return fmt.Errorf("a client got message %d where %d was due", seq, s.missed)
	}
	if s.missed == s.client.Missed {
		s.state = stateReady
		to.recoveries.record(at - s.asked)
		to.ready(s, at)
	}
	return nil
}

// ClosedError says that the server closed a connection.
type ClosedError struct {
	// Code and Reason are those of its close frame.
	Code   ws.StatusCode
	Reason string
}

// Error implements error.
func (e *ClosedError) Error() string {
	return fmt.Sprintf("the server closed a connection with %d %q", e.Code, e.Reason)
}

func closeError(body []byte) error {
	code, reason := ws.ParseCloseFrameData(body)
	return &ClosedError{code, reason}
}

// clientFrame returns a frame as clients send it.
func clientFrame(f ws.Frame) []byte {
	// The error is for lengths that a frame can't have.
	text, _ := ws.CompileFrame(ws.MaskFrame(f))
	return text
}
