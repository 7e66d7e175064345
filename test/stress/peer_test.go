package stress_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/test/harness"
)

const (
	// maxFrame bounds a frame from the server, in bytes.
	maxFrame = 1 << 20
	// peerBuffer is the read buffer of a peer, in bytes: there are many.
	peerBuffer = 1 << 10
)

// wrongError says that the server sent what it must not send, in contrast to a
// connection that ended.
type wrongError struct{ what string }

func (e *wrongError) Error() string { return e.what }

// peer is a lean client. One goroutine may read while others write.
type peer struct {
	conn *net.TCPConn
	r    *bufio.Reader
	buf  []byte // of the last frame
	// deflate says that permessage-deflate was negotiated, and compressed how
	// many messages came compressed.
	deflate    bool
	compressed int
}

// dialTCP connects to an address.
func dialTCP(ctx context.Context, addr string) (*net.TCPConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// upgradeRequest returns the head of a WebSocket request with more header
// lines.
func upgradeRequest(token string, more ...string) string {
	lines := append([]string{
		"GET /ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Authorization: Bearer " + token,
	}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func newPeer(conn *net.TCPConn) *peer {
	return &peer{conn: conn, r: bufio.NewReaderSize(conn, peerBuffer)}
}

// dialPeer connects and upgrades. The server's first message is not read.
func dialPeer(ctx context.Context, addr, token string, header ...string) (*peer, error) {
	conn, err := dialTCP(ctx, addr)
	if err != nil {
		return nil, err
	}
	p := newPeer(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err = io.WriteString(conn, upgradeRequest(token, header...)); err == nil {
		err = p.readHead()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// readHead reads the server's answer to the upgrade.
func (p *peer) readHead() error {
	for first := true; ; first = false {
		line, err := p.r.ReadString('\n')
		switch {
		case err != nil:
			return fmt.Errorf("answer to the upgrade: %w", err)
		case first && !strings.HasPrefix(line, "HTTP/1.1 101 "):
			return &wrongError{fmt.Sprintf("answer to the upgrade: %q", line)}
		case strings.HasPrefix(line, "Sec-WebSocket-Extensions: permessage-deflate"):
			p.deflate = true
		case line == "\r\n":
			return nil
		}
	}
}

// next reads a text message, inflates it if need be, and answers pings on the
// way. What it returns is valid until the next call. The error is a *harness.Closed when the server
// closed with a frame.
func (p *peer) next() ([]byte, error) {
	for {
		h, err := ws.ReadHeader(p.r)
		if err != nil {
			return nil, err
		}
		compressed := h.Rsv1() && p.deflate && h.OpCode == ws.OpText
		if h.Masked || !h.Fin || h.Rsv != 0 && !compressed || h.Length > maxFrame {
			return nil, &wrongError{fmt.Sprintf("frame %+v", h)}
		}
		if int64(cap(p.buf)) < h.Length {
			p.buf = make([]byte, h.Length)
		}
		p.buf = p.buf[:h.Length]
		if _, err := io.ReadFull(p.r, p.buf); err != nil {
			return nil, err
		}
		switch h.OpCode {
		case ws.OpText:
			if compressed {
				p.compressed++
				return inflated(p.buf)
			}
			return p.buf, nil
		case ws.OpPing:
			// Whether it can be written shows when more is read.
			_ = p.write(ws.NewPongFrame(append([]byte(nil), p.buf...)))
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(p.buf)
			return nil, &harness.Closed{Code: code, Reason: reason}
		case ws.OpPong:
		default:
			return nil, &wrongError{fmt.Sprintf("frame %+v", h)}
		}
	}
}

// inflated returns the text of a compressed message of at most maxFrame bytes.
func inflated(payload []byte) ([]byte, error) {
	// What the sender left out, and the end of the stream.
	r := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(flushTail+"\x01\x00\x00\xff\xff")))
	text, err := io.ReadAll(io.LimitReader(r, maxFrame+1))
	switch {
	case err != nil:
		return nil, &wrongError{fmt.Sprintf("compressed message: %v", err)}
	case len(text) > maxFrame:
		return nil, &wrongError{"compressed message is too large"}
	}
	return text, nil
}

// awaitClose reads, and drops, what comes until the connection ends.
func (p *peer) awaitClose() error {
	for {
		if _, err := p.next(); err != nil {
			return err
		}
	}
}

// write masks and writes a frame, in one call.
func (p *peer) write(f ws.Frame) error {
	_, err := p.conn.Write(ws.MustCompileFrame(ws.MaskFrameInPlace(f)))
	return err
}

// request sends a request; an empty id is not sent.
func (p *peer) request(kind, id string, data any) error {
	text, err := json.Marshal(struct {
		Type string `json:"type"`
		ID   string `json:"id,omitempty"`
		Data any    `json:"data,omitempty"`
	}{kind, id, data})
	if err != nil {
		return err
	}
	return p.write(ws.NewTextFrame(text))
}

// close ends the connection without a close frame.
func (p *peer) close() error {
	if err := p.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// reset ends the connection so that the server's next call meets an error.
func (p *peer) reset() error {
	if err := p.conn.SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return p.close()
}

// isClosed reports whether err is a close of the server with this code.
func isClosed(err error, code ws.StatusCode) bool {
	var closed *harness.Closed
	return errors.As(err, &closed) && closed.Code == code
}
