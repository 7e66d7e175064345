package handshake_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// TestHeadBytes holds the bound to the byte, and that not one more is read
// before the answer.
func TestHeadBytes(t *testing.T) {
	for _, limit := range []int{0, 512, 1000, 2 << 10, 2<<10 + 1, 8 << 10, 20 << 10} {
		h := newHandshaker(t, handshake.Options{MaxHeadBytes: limit})
		n := limit
		if n == 0 {
			n = 8 << 10
		}
		for _, sizes := range [][]int{nil, {1, 1, 1}, {100, n - 101, 1}, {n - 1}, {n}} {
			more := strings.Repeat("m", 100)
			for _, length := range []int{n - 1, n} {
				s := newScript(upgradeHead().pad(length).String()+more, sizes...)
				if v := judge(t, h, s); v.end != upgraded || v.tail != more {
					t.Errorf("limit %d: %d bytes: %s %s, tail of %d", limit, length, v.end, v.reason, len(v.tail))
				}
				if s.headRead > n {
					t.Errorf("limit %d: %d bytes were read", limit, s.headRead)
				}
			}
			s := newScript(upgradeHead().pad(n+1).String(), sizes...)
			if v := judge(t, h, s); v.reason != handshake.ReasonTooLarge || s.headRead != n {
				t.Errorf("limit %d: %d bytes: %s %s after %d", limit, n+1, v.end, v.reason, s.headRead)
			}
		}
	}
}

func TestHeaderCount(t *testing.T) {
	for _, limit := range []int{0, 5, 6, 64, 100} {
		h := newHandshaker(t, handshake.Options{MaxHeaders: limit})
		n := limit
		if n == 0 {
			n = 64
		}
		head := upgradeHead()
		for len(head.fields) < n {
			head = head.add("X: y")
		}
		expectUpgrade(t, h, head.String())
		expectRefusal(t, h, head.add("X: y").String(), handshake.ReasonTooMany)
		// The one too many is refused at its end, before anything follows.
		last := strings.TrimSuffix(head.add("X: y").String(), "\r\n")
		expectRefusal(t, h, last, handshake.ReasonTooMany)
		if v := judge(t, h, newScript(strings.TrimSuffix(last, "\n"))); v.end != broken {
			t.Errorf("limit %d: %s %s", limit, v.end, v.reason)
		}
	}
}

// flood is a peer that sends one byte for ever, as fast as it is read.
type flood struct {
	*script
	fill byte
	left int
}

func (f *flood) Read(p []byte) (int, error) {
	if f.read < len(f.data) {
		return f.script.Read(p)
	}
	n := min(len(p), f.left)
	if n == 0 {
		return 0, io.EOF
	}
	copy(p[:n], bytes.Repeat([]byte{f.fill}, n))
	f.left -= n
	f.read += n
	if f.out.Len() == 0 {
		f.headRead += n
	}
	return n, nil
}

const floodBytes = 400 << 20

// TestFloods: of 400 MiB in one line the first 8 KiB are read, then the answer
// goes out, then some more is thrown away.
func TestFloods(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for name, start := range map[string]string{
		"request line":                      "GET /ws?",
		"method":                            "",
		"name":                              "GET /ws HTTP/1.1\r\nX",
		"value":                             "GET /ws HTTP/1.1\r\nHost: a\r\nCookie: ",
		"after a good field of a WebSocket": upgradeHead().line + "\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: ",
	} {
		t.Run(name, func(t *testing.T) {
			f := &flood{script: newScript(start), fill: 'a', left: floodBytes}
			var rej *handshake.Rejection
			if _, err := h.Do(f, time.Now()); !errors.As(err, &rej) || rej.Status != http.StatusRequestHeaderFieldsTooLarge {
				t.Fatalf("error %v", err)
			}
			if f.headRead != 8<<10 || f.read != 8<<10+handshake.LingerBytes {
				t.Errorf("%d bytes were read before the answer, %d in all", f.headRead, f.read)
			}
		})
	}
}

// countingConn counts what the server reads.
type countingConn struct {
	*net.TCPConn
	read int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.read += n
	return n, err
}

// TestFloodOverLoopback: a peer that only writes is cut off, and costs no
// memory.
func TestFloodOverLoopback(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	client, server := loopbackPair(t)
	counting := &countingConn{TCPConn: server.(*net.TCPConn)}
	sent := make(chan int, 1)
	chunk := bytes.Repeat([]byte("a"), 64<<10)
	go func() {
		total := 0
		_, _ = io.WriteString(client, "GET /ws HTTP/1.1\r\nCookie: ")
		for total < floodBytes {
			n, err := client.Write(chunk)
			total += n
			if err != nil {
				break
			}
		}
		sent <- total
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := h.Do(counting, time.Now())
	runtime.ReadMemStats(&after)
	server.Close()
	var rej *handshake.Rejection
	if !errors.As(err, &rej) || rej.Reason != handshake.ReasonTooLarge {
		t.Errorf("error %v", err)
	}
	if limit := 8<<10 + handshake.LingerBytes; counting.read > limit {
		t.Errorf("%d bytes were read", counting.read)
	}
	if total := <-sent; total >= floodBytes {
		t.Errorf("the peer could send all of it")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// TestAnswerSurvives: a client whose head is far too large still reads the
// answer, rather than a reset.
func TestAnswerSurvives(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for range 20 {
		client, server := loopbackPair(t)
		p := send(client, http.MethodGet, upgradeHead().pad(60<<10).String())
		_, err := h.Do(server, time.Now())
		server.Close()
		if answer := p.answer(); p.err != nil || !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
			t.Fatalf("answer %q, %v, after %v", answer, p.err, err)
		}
	}
}
