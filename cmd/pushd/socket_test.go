package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// pipe returns a socket and the server's end of its connection.
func pipe(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	s := newSocket(near, nil)
	t.Cleanup(func() {
		s.close()
		_ = far.Close()
	})
	return s, far
}

// play lets the server's end run beside the test.
func play(t *testing.T, script func() error) (wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = script() })
	return func() {
		t.Helper()
		wg.Wait()
		if err != nil {
			t.Error(err)
		}
	}
}

func readFrame(conn net.Conn, want ws.OpCode) ([]byte, error) {
	f, err := ws.ReadFrame(conn)
	switch {
	case err != nil:
		return nil, err
	case !f.Header.Masked:
		return nil, errors.New("a frame of the client is not masked")
	case f.Header.OpCode != want:
		return nil, errors.New("a frame of the wrong kind")
	}
	return ws.UnmaskFrameInPlace(f).Payload, nil
}

func TestSocketReads(t *testing.T) {
	s, server := pipe(t)
	wait := play(t, func() error {
		first := ws.NewFrame(ws.OpText, false, []byte("two "))
		last := ws.NewFrame(ws.OpContinuation, true, []byte("parts"))
		for _, f := range []ws.Frame{ws.NewTextFrame([]byte("one")), first, ws.NewPingFrame([]byte("42"))} {
			if err := ws.WriteFrame(server, f); err != nil {
				return err
			}
		}
		pong, err := readFrame(server, ws.OpPong)
		if err != nil {
			return err
		}
		if string(pong) != "42" {
			return errors.New("the pong does not repeat the ping")
		}
		for _, f := range []ws.Frame{last, ws.NewPongFrame(nil), ws.NewBinaryFrame([]byte{1})} {
			if err := ws.WriteFrame(server, f); err != nil {
				return err
			}
		}
		return nil
	})
	for _, want := range []string{"one", "two parts", "\x01"} {
		got, err := s.next()
		if err != nil || string(got) != want {
			t.Fatalf("got %q %v, want %q", got, err, want)
		}
	}
	wait()
}

func TestSocketEnds(t *testing.T) {
	for name, c := range map[string]struct {
		script func(net.Conn) error
		want   string
	}{
		"close": {
			func(server net.Conn) error {
				body := ws.NewCloseFrameBody(4101, "slow_consumer")
				if err := ws.WriteFrame(server, ws.NewCloseFrame(body)); err != nil {
					return err
				}
				echo, err := readFrame(server, ws.OpClose)
				if err == nil && string(echo) != string(body) {
					err = errors.New("the close is not answered with the same code")
				}
				return err
			},
			"closed by the server: 4101 slow_consumer: back off",
		},
		"close without code": {
			func(server net.Conn) error {
				if _, err := io.WriteString(server, "\x88\x00"); err != nil {
					return err
				}
				_, err := readFrame(server, ws.OpClose)
				return err
			},
			"no reason was given",
		},
		"lost": {func(server net.Conn) error { return server.Close() }, "without a close frame"},
		"lost within": {
			func(server net.Conn) error {
				_, err := io.WriteString(server, "\x81\x05ab")
				return errors.Join(err, server.Close())
			},
			"without a close frame",
		},
		"masked": {
			func(server net.Conn) error {
				return ws.WriteFrame(server, ws.MaskFrame(ws.NewTextFrame([]byte("x"))))
			},
			"read message",
		},
		"bad UTF-8": {
			func(server net.Conn) error { return ws.WriteFrame(server, ws.NewTextFrame([]byte("\xff"))) },
			"read message",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, server := pipe(t)
			wait := play(t, func() error {
				err := c.script(server)
				if name == "masked" { // The reader may give up in the middle.
					return nil
				}
				return err
			})
			_, err := s.next()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			s.close()
			wait()
		})
	}
}

func TestSocketLeaves(t *testing.T) {
	s, server := pipe(t)
	wait := play(t, func() error {
		body, err := readFrame(server, ws.OpClose)
		if err != nil {
			return err
		}
		return ws.WriteFrame(server, ws.NewCloseFrame(body))
	})
	s.leave()
	s.leave() // once is enough
	_, err := s.next()
	var closed *closedError
	if !errors.As(err, &closed) || closed.code != ws.StatusNormalClosure {
		t.Errorf("got %v", err)
	}
	wait()
}
