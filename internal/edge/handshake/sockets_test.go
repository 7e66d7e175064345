package handshake_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func newHandshaker(t testing.TB, o handshake.Options) *handshake.Handshaker {
	t.Helper()
	h, err := handshake.New(o)
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	return h
}

// script is a socket whose peer has sent everything already. The bytes come in
// the given sizes, and after these as many at once as fit.
type script struct {
	data  []byte
	sizes []int
	// end is what reading says when all was read; nil: io.EOF.
	end error

	read     int // bytes read, and how many of them before the first write
	headRead int
	out      bytes.Buffer
}

func newScript(data string, sizes ...int) *script { return &script{data: []byte(data), sizes: sizes} }

func (s *script) Read(p []byte) (int, error) {
	rest := s.data[s.read:]
	if len(rest) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		return 0, io.EOF
	}
	if len(s.sizes) > 0 {
		rest = rest[:min(s.sizes[0], len(rest))]
		s.sizes = s.sizes[1:]
	}
	n := copy(p, rest)
	s.read += n
	if s.out.Len() == 0 {
		s.headRead += n
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// end is one of the four ways a handshake ends.
type end string

const (
	upgraded end = "upgraded"
	refused  end = "refused"
	passed   end = "passed"
	broken   end = "broken"
)

// verdict is all that a handshake leaves behind. It is comparable.
type verdict struct {
	end    end
	status int
	reason handshake.Reason
	admin  bool
	token  string
	answer string // what the peer was told
	tail   string // what comes next on the socket
}

// judge does a handshake over s.
func judge(t testing.TB, h *handshake.Handshaker, s *script) verdict {
	t.Helper()
	up, err := h.Do(s, time.Now())
	v := verdict{}
	var (
		rej  *handshake.Rejection
		pass *handshake.Passthrough
	)
	switch {
	case errors.As(err, &rej):
		v.end, v.status, v.reason = refused, rej.Status, rej.Reason
	case errors.As(err, &pass):
		tail, err := io.ReadAll(pass.Conn)
		if err != nil {
			t.Fatalf("read what was passed: %v", err)
		}
		v.end, v.tail = passed, string(tail)
	case err != nil:
		v.end = broken
	default:
		s.out.Write(up.Answer)
		_, told, _ := strings.Cut(s.out.String(), "Sec-WebSocket-Protocol: ")
		told, _, _ = strings.Cut(told, "\r\n")
		if up.Dialect.String() != cmp.Or(told, "pushd.plain") {
			t.Errorf("dialect %s, told %q", up.Dialect, told)
		}
		v.end, v.admin, v.token, v.tail = upgraded, up.Admin, up.Token, string(up.Pipelined)+string(s.data[s.read:])
	}
	if (up != nil) != (v.end == upgraded) {
		t.Errorf("%s, and %v came back", v.end, up)
	}
	v.answer = s.out.String()
	return v
}

// expectUpgrade fails the test unless the head is upgraded.
func expectUpgrade(t testing.TB, h *handshake.Handshaker, head string) verdict {
	t.Helper()
	v := judge(t, h, newScript(head))
	if v.end != upgraded {
		t.Errorf("%s: %d %s", v.end, v.status, v.reason)
	}
	return v
}

// expectRefusal fails the test unless the head is refused for this reason.
func expectRefusal(t testing.TB, h *handshake.Handshaker, head string, reason handshake.Reason) verdict {
	t.Helper()
	v := judge(t, h, newScript(head))
	if v.end != refused || v.reason != reason {
		t.Errorf("%s: %d %s, want %s", v.end, v.status, v.reason, reason)
	}
	return v
}

// pair makes both ends of a connection.
type pair func(t testing.TB) (client, server net.Conn)

func pipePair(testing.TB) (client, server net.Conn) { return net.Pipe() }

// loopbackPair makes a TCP connection.
func loopbackPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	server, err = listener.Accept()
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// peer is the client's side of one exchange.
type peer struct {
	wg  sync.WaitGroup
	raw bytes.Buffer // every byte of the answer
	err error        // why there was no answer
}

// send writes data and reads one answer at the same time. When the answer is
// no 101 it closes the connection, as clients do.
func send(client net.Conn, method, data string) *peer {
	p := &peer{}
	p.wg.Go(func() { _, _ = io.WriteString(client, data) })
	p.wg.Go(func() {
		resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(client, &p.raw)), &http.Request{Method: method})
		if err != nil {
			p.err = err
			client.Close()
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return
		}
		_, p.err = io.Copy(io.Discard, resp.Body)
		client.Close()
	})
	return p
}

// answer waits for the end of the exchange. The server's side must have been
// closed if there was no answer.
func (p *peer) answer() string {
	p.wg.Wait()
	return p.raw.String()
}
