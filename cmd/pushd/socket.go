package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const (
	dialTimeout = 10 * time.Second
	// writeTimeout bounds one small frame to the server.
	writeTimeout = 5 * time.Second
	// leaveTimeout is how long the server may take to answer our close frame.
	leaveTimeout = 2 * time.Second
	// maxTailMessage bounds one message, in bytes.
	maxTailMessage = 64 << 20
)

// socket is the client's end of a WebSocket connection. One goroutine calls
// next; send and leave may be called by any.
type socket struct {
	conn   net.Conn
	reader *wsutil.Reader
	goOnce sync.Once
}

// newSocket wraps conn; buffered holds what came behind the handshake, or is
// nil.
func newSocket(conn net.Conn, buffered *bufio.Reader) *socket {
	s := &socket{conn: conn}
	var source io.Reader = conn
	if buffered != nil {
		source = buffered
	}
	s.reader = &wsutil.Reader{
		Source:         source,
		State:          ws.StateClientSide,
		CheckUTF8:      true,
		OnIntermediate: s.control,
	}
	return s
}

// closedError says that the server closed the connection.
type closedError struct {
	code   ws.StatusCode
	reason string
}

func (e *closedError) Error() string {
	text := fmt.Sprintf("closed by the server: %d", e.code)
	if e.reason != "" {
		text += " " + printable(e.reason)
	}
	return text + ": " + closeMeaning(e.code)
}

// next returns the next text or binary message; pings are answered meanwhile.
func (s *socket) next() ([]byte, error) {
	for {
		h, err := s.reader.NextFrame()
		if err != nil {
			return nil, readError(err)
		}
		if h.OpCode.IsControl() {
			if err := s.control(h, s.reader); err != nil {
				return nil, err
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(s.reader, maxTailMessage+1))
		if err != nil {
			return nil, readError(err)
		}
		if len(text) > maxTailMessage {
			return nil, fmt.Errorf("message is larger than %d bytes", maxTailMessage)
		}
		return text, nil
	}
}

// control handles a control frame, also between the fragments of a message.
func (s *socket) control(h ws.Header, r io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(r, h.Length))
	if err != nil {
		return readError(err)
	}
	switch h.OpCode {
	case ws.OpPing:
		return s.send(ws.NewPongFrame(body))
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(body)
		if len(body) == 0 {
			code = ws.StatusNoStatusRcvd
		}
		s.goOnce.Do(func() { _ = s.send(ws.NewCloseFrame(body)) })
		return &closedError{code, reason}
	default:
		return nil
	}
}

// send writes one frame, masked, in one write: writers don't interleave.
func (s *socket) send(f ws.Frame) error {
	text, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if _, err := s.conn.Write(text); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// leave says goodbye and bounds the wait for the answer, which next returns.
func (s *socket) leave() {
	s.goOnce.Do(func() {
		_ = s.send(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
		_ = s.conn.SetReadDeadline(time.Now().Add(leaveTimeout))
	})
}

func (s *socket) close() { _ = s.conn.Close() }

func readError(err error) error {
	var closed *closedError
	switch {
	case errors.As(err, &closed):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("connection lost without a close frame")
	default:
		return fmt.Errorf("read message: %w", err)
	}
}

// closeMeaning says what a close code asks of a client. An unknown code of a
// known range still has its meaning.
func closeMeaning(code ws.StatusCode) string { //nolint:cyclop // One case per code.
	switch code {
	case ws.StatusNormalClosure:
		return "normal end"
	case ws.StatusGoingAway:
		return "the node is going away"
	case ws.StatusProtocolError, ws.StatusUnsupportedData, ws.StatusInvalidFramePayloadData:
		return "the server did not understand this client"
	case ws.StatusMessageTooBig:
		return "a message was too large"
	case ws.StatusInternalServerError:
		return "the server has a fault"
	case ws.StatusNoStatusRcvd:
		return "no reason was given"
	}
	switch {
	case code >= 4000 && code < 4100:
		return "reconnect now"
	case code >= 4100 && code < 4200:
		return "back off, then reconnect"
	case code >= 4200 && code < 4300:
		return "get a new token, then reconnect"
	case code >= 4300 && code < 4400:
		return "do not reconnect"
	default:
		return "unknown code"
	}
}
