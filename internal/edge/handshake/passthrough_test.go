package handshake_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatalf("url: %v", err)
	}
	return u
}

// TestPassthrough: the next reader sees the very bytes, however much was read
// and however much is still to come.
func TestPassthrough(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	get := "GET /healthz HTTP/1.1\r\nhOST:  a \r\nX: \xff\r\n\r\n"
	for name, text := range map[string]string{
		"GET":                   get,
		"HTTP/1.0":              "GET / HTTP/1.0\r\n\r\n",
		"POST with a body":      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
		"chunked body":          "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"a second request":      get + strings.ReplaceAll(get, "healthz", "ws"),
		"body over the buffer":  "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("b", 10000),
		"body of control bytes": "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\x00\n\n\r\x7f",
		"large head":            head{line: "GET / HTTP/1.1", fields: []string{"Host: a"}}.pad(8 << 10).String(),
		"WebSocket elsewhere":   upgradeHead().request("GET /demo/ws HTTP/1.1").String(),
		"odd host":              "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"asks before its body":  "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
		"any method":            "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, sizes := range [][]int{nil, {1}, {len(get) - 1, 1, 1}, {len(get)}} {
				v := judge(t, h, newScript(text, sizes...))
				if v.end != passed || v.tail != text || v.answer != "" {
					t.Errorf("%s %s, answer %q, tail %q", v.end, v.reason, v.answer, v.tail)
				}
			}
		})
	}
}

// TestPassthroughReads holds the Conn against the rules of io.Reader.
func TestPassthroughReads(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	text := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("0123456789", 200)
	_, err := h.Do(newScript(text, 100), time.Now())
	var pass *handshake.Passthrough
	if !errors.As(err, &pass) {
		t.Fatalf("error %v", err)
	}
	if err.Error() != "not a request for a websocket path" {
		t.Errorf("error %q", err)
	}
	if err := iotest.TestReader(pass.Conn, []byte(text)); err != nil {
		t.Error(err)
	}
	// Callers compare with ==.
	if _, err := pass.Conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestPassthroughIsServed: net/http goes on where the handshake stopped, with
// more than one request.
func TestPassthroughIsServed(t *testing.T) {
	client, server := loopbackPair(t)
	const requests = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(client, requests); err != nil {
		t.Fatalf("write: %v", err)
	}
	_, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now())
	var pass *handshake.Passthrough
	if !errors.As(err, &pass) {
		t.Fatalf("error %v", err)
	}
	if pass.Conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("remote address %v", pass.Conn.RemoteAddr())
	}
	r := bufio.NewReader(pass.Conn)
	for i, want := range []string{"POST /a abc", "GET /ws "} {
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		body, _ := io.ReadAll(req.Body)
		if got := req.Method + " " + req.URL.Path + " " + string(body); got != want {
			t.Errorf("request %d: %q", i, got)
		}
	}
}

// TestPassthroughHalfClose: the writing side can be shut where the socket can.
func TestPassthroughHalfClose(t *testing.T) {
	const text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	pass := func(t *testing.T, client, server net.Conn) interface{ CloseWrite() error } {
		t.Helper()
		written := make(chan error, 1)
		go func() {
			_, err := io.WriteString(client, text)
			written <- err
		}()
		_, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now())
		var pass *handshake.Passthrough
		if !errors.As(err, &pass) {
			t.Fatalf("error %v", err)
		}
		if err := <-written; err != nil {
			t.Fatalf("write: %v", err)
		}
		half, ok := pass.Conn.(interface{ CloseWrite() error })
		if !ok {
			t.Fatalf("%T has no CloseWrite", pass.Conn)
		}
		return half
	}
	t.Run("loopback", func(t *testing.T) {
		client, server := loopbackPair(t)
		half := pass(t, client, server)
		if err := half.CloseWrite(); err != nil {
			t.Fatalf("close write: %v", err)
		}
		if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
			t.Errorf("client read %q, %v", got, err)
		}
		if _, err := io.WriteString(client, "more"); err != nil {
			t.Errorf("client write: %v", err)
		}
		if n, err := io.ReadAtLeast(server, make([]byte, 4), 4); n != 4 {
			t.Errorf("server read %d, %v", n, err)
		}
		server.Close()
		if err := half.CloseWrite(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		if err := pass(t, client, server).CloseWrite(); err != nil {
			t.Errorf("close write: %v", err)
		}
	})
}

// TestPassthroughIsOwned: the bytes stay when the buffer is used again.
func TestPassthroughIsOwned(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	const text = "GET /mine HTTP/1.1\r\nHost: a\r\n\r\n"
	_, err := h.Do(newScript(text), time.Now())
	for range 10 {
		judge(t, h, newScript(strings.ReplaceAll(text, "mine", "thee")))
	}
	var pass *handshake.Passthrough
	if !errors.As(err, &pass) {
		t.Fatalf("error %v", err)
	}
	if got, _ := io.ReadAll(pass.Conn); !bytes.Equal(got, []byte(text)) {
		t.Errorf("became %q", got)
	}
}
