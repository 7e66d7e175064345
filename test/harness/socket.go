package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"
)

// maxFrame bounds a frame from the server, in bytes.
const maxFrame = 8 << 20

// Closed is the end of a connection by a close frame of the server.
type Closed struct {
	Code   ws.StatusCode
	Reason string
}

// Error implements error.
func (c *Closed) Error() string { return fmt.Sprintf("closed with %d %q", c.Code, c.Reason) }

// Message is one message from the server.
type Message struct {
	Type string          `json:"type"`
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
	// Text is the message as it came.
	Text string `json:"-"`
	// Binary is a binary message as it came; then all else is empty.
	Binary []byte `json:"-"`
}

// Field returns a string field of the data; empty when there is none.
func (m Message) Field(name string) string {
	var all map[string]json.RawMessage
	var text string
	if json.Unmarshal(m.Data, &all) != nil || json.Unmarshal(all[name], &text) != nil {
		return ""
	}
	return text
}

// Socket is a client connection. It reads only when it is told to, and answers
// pings on the way. Not safe for concurrent use.
type Socket struct {
	// ID is the connection id that the server gave.
	ID   string
	conn net.Conn
	r    *bufio.Reader
}

// Dial opens a connection and reads the server's first message. header may be
// nil.
func Dial(ctx context.Context, url, token string, header http.Header) (*Socket, error) {
	s, err := Upgrade(ctx, url, token, header)
	if err != nil {
		return nil, err
	}
	m, err := s.Expect(ctx, "connection")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.ID = m.Field("connectionId")
	return s, nil
}

// Upgrade opens a connection and reads nothing of it. An empty token is not
// sent. Subprotocols in the header are offered.
func Upgrade(ctx context.Context, url, token string, header http.Header) (*Socket, error) {
	all := header.Clone()
	if all == nil {
		all = make(http.Header)
	}
	if token != "" {
		all.Set("Authorization", "Bearer "+token)
	}
	d := ws.Dialer{Protocols: all.Values("Sec-WebSocket-Protocol")}
	all.Del("Sec-WebSocket-Protocol")
	d.Header = ws.HandshakeHeaderHTTP(all)
	conn, buffered, _, err := d.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	// The context of the dial leaves its deadline behind.
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", url, err), conn.Close())
	}
	if buffered == nil {
		buffered = bufio.NewReader(conn)
	}
	return &Socket{conn: conn, r: buffered}, nil
}

// Conn returns the connection, to write what no client should.
func (s *Socket) Conn() net.Conn { return s.conn }

// Send sends a request.
func (s *Socket) Send(kind string, data any) error {
	text, err := json.Marshal(map[string]any{"type": kind, "data": data})
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	return s.SendText(string(text))
}

// SendText sends one text message.
func (s *Socket) SendText(text string) error {
	return s.SendFrame(ws.NewTextFrame([]byte(text)))
}

// SendFrame masks and sends a frame.
func (s *Socket) SendFrame(f ws.Frame) error {
	if err := ws.WriteFrame(s.conn, ws.MaskFrameInPlace(f)); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Next reads the next message. The error is a *Closed when the server closed
// with a frame.
func (s *Socket) Next(ctx context.Context) (Message, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		f, err := s.readFrame()
		if err != nil {
			return Message{}, fmt.Errorf("next message: %w", err)
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			if err := s.SendFrame(ws.NewPongFrame(f.Payload)); err != nil {
				return Message{}, err
			}
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			return Message{}, &Closed{code, reason}
		case ws.OpBinary:
			return Message{Binary: f.Payload}, nil
		case ws.OpText:
			m := Message{Text: string(f.Payload)}
			if err := json.Unmarshal(f.Payload, &m); err != nil {
				return m, fmt.Errorf("message %q: %w", f.Payload, err)
			}
			return m, nil
		case ws.OpPong, ws.OpContinuation:
		}
	}
}

func (s *Socket) readFrame() (ws.Frame, error) {
	h, err := ws.ReadHeader(s.r)
	if err != nil {
		return ws.Frame{}, err //nolint:wrapcheck // The caller wraps it.
	}
	if h.Length > maxFrame || h.Masked || !h.Fin {
		return ws.Frame{}, fmt.Errorf("frame %+v", h)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		return ws.Frame{}, err //nolint:wrapcheck // The caller wraps it.
	}
	return ws.Frame{Header: h, Payload: payload}, nil
}

// Expect reads the next message, which must be of this type.
func (s *Socket) Expect(ctx context.Context, kind string) (Message, error) {
	m, err := s.Next(ctx)
	if err != nil {
		return m, fmt.Errorf("expect %s: %w", kind, err)
	}
	if m.Type != kind {
		return m, fmt.Errorf("expect %s: got %s", kind, m.Text)
	}
	return m, nil
}

// Join joins a channel and waits for the answer, which must come next.
func (s *Socket) Join(ctx context.Context, channel string) error {
	if err := s.Send("join_channel", map[string]string{"channel": channel}); err != nil {
		return err
	}
	m, err := s.Expect(ctx, "channel_joined")
	if err != nil {
		return err
	}
	if got := m.Field("channel"); got != channel {
		return fmt.Errorf("joined %q, not %q", got, channel)
	}
	return nil
}

// Say sends a message to a channel.
func (s *Socket) Say(channel string, message any) error {
	return s.Send("send_message", map[string]any{"channel": channel, "message": message})
}

// AwaitClose reads, and drops, what comes until the connection ends.
func (s *Socket) AwaitClose(ctx context.Context) (*Closed, error) {
	for {
		_, err := s.Next(ctx)
		var closed *Closed
		if errors.As(err, &closed) {
			return closed, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Close cuts the connection.
func (s *Socket) Close() error {
	if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
