package handshake_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

const timeout = 5 * time.Second

// trickle writes one byte of text per step until it can't, and starts again at
// the end of text.
func trickle(w io.Writer, text string, step time.Duration) {
	for i := 0; ; i++ {
		if _, err := w.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		<-time.After(step)
	}
}

// TestSlowHead: the time is counted from the start, not from the last byte.
func TestSlowHead(t *testing.T) {
	for name, c := range map[string]struct {
		step time.Duration
		text string
	}{
		"a byte per second":         {time.Second, upgradeHead().String()},
		"a byte per 4.999 seconds":  {timeout - time.Millisecond, upgradeHead().String()},
		"many bytes, never the end": {10 * time.Millisecond, "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 600)},
		"a byte as time is up":      {timeout, "G"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				start := time.Now()
				var writer sync.WaitGroup
				writer.Go(func() { trickle(client, c.text, c.step) })
				status := make(chan int, 1)
				go func() {
					defer client.Close()
					resp, err := http.ReadResponse(bufio.NewReader(client), nil)
					if err != nil {
						status <- 0
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					status <- resp.StatusCode
				}()
				_, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now())
				if took := time.Since(start); took != timeout {
					t.Errorf("took %v", took)
				}
				var rej *handshake.Rejection
				if !errors.As(err, &rej) || rej.Reason != handshake.ReasonTimeout {
					t.Errorf("error %v", err)
				}
				if got := <-status; got != http.StatusRequestTimeout {
					t.Errorf("status %d", got)
				}
				writer.Wait()
			})
		})
	}
}

// TestFastEnough: the last byte a millisecond before the end is in time.
func TestFastEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		text := upgradeHead().String()
		go func() {
			_, _ = io.WriteString(client, text[:len(text)-1])
			<-time.After(timeout - time.Millisecond)
			_, _ = io.WriteString(client, text[len(text)-1:])
		}()
		if _, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now()); err != nil {
			t.Errorf("error %v", err)
		}
	})
}

// TestDeafPeers holds the longest that Do can take, by what the peer does not
// do.
func TestDeafPeers(t *testing.T) {
	bad := "GET /ws HTTP/2.0\r\n\r\n"
	for name, c := range map[string]struct {
		send string
		// read: the peer takes the answer, but never goes.
		read bool
		want time.Duration
		end  end
	}{
		"sends nothing, reads nothing":        {"", false, timeout + handshake.LingerTimeout, refused},
		"sends nothing, reads":                {"", true, timeout + handshake.LingerTimeout, refused},
		"is refused, reads nothing":           {bad, false, handshake.LingerTimeout, refused},
		"is refused, reads and stays":         {bad, true, handshake.LingerTimeout, refused},
		"is upgraded, which the caller says":  {upgradeHead().String(), false, 0, upgraded},
		"is passed on, which needs no answer": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, 0, passed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				go func() {
					_, _ = io.WriteString(client, c.send)
					if c.read {
						_, _ = io.Copy(io.Discard, client)
					}
				}()
				start := time.Now()
				up, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now())
				if took := time.Since(start); took != c.want {
					t.Errorf("took %v, want %v", took, c.want)
				}
				if got := endOf(up, err); got != c.end {
					t.Errorf("%s: %v", got, err)
				}
			})
		})
	}
}

func endOf(up *handshake.Upgraded, err error) end {
	var (
		rej  *handshake.Rejection
		pass *handshake.Passthrough
	)
	switch {
	case errors.As(err, &rej):
		return refused
	case errors.As(err, &pass):
		return passed
	case err != nil || up == nil:
		return broken
	default:
		return upgraded
	}
}

// TestTimeoutOption: it is the option that counts.
func TestTimeoutOption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		start := time.Now()
		_, err := newHandshaker(t, handshake.Options{Timeout: time.Minute}).Do(server, time.Now())
		if took := time.Since(start); took != time.Minute+handshake.LingerTimeout || endOf(nil, err) != refused {
			t.Errorf("took %v: %v", took, err)
		}
	})
}

// TestBrokenSockets: nobody is left to be told, and the cause comes out.
func TestBrokenSockets(t *testing.T) {
	text := upgradeHead().String()
	h := newHandshaker(t, handshake.DefaultOptions())
	t.Run("peer goes at once", func(t *testing.T) {
		s := newScript("")
		if _, err := h.Do(s, time.Now()); !errors.Is(err, io.EOF) || endOf(nil, err) != broken || s.out.Len() > 0 {
			t.Errorf("error %v, answer %q", err, &s.out)
		}
	})
	t.Run("peer goes in the midst", func(t *testing.T) {
		for n := range len(text) {
			s := newScript(text[:n])
			if _, err := h.Do(s, time.Now()); !errors.Is(err, io.EOF) || endOf(nil, err) != broken || s.out.Len() > 0 {
				t.Fatalf("after %d bytes: error %v, answer %q", n, err, &s.out)
			}
		}
	})
	t.Run("closed before", func(t *testing.T) {
		client, server := loopbackPair(t)
		client.Close()
		server.Close()
		if up, err := h.Do(server, time.Now()); !errors.Is(err, net.ErrClosed) || endOf(up, err) != broken {
			t.Errorf("error %v", err)
		}
	})
	for name, connect := range map[string]pair{"loopback": loopbackPair, "pipe": pipePair} {
		t.Run("owner closes/"+name, func(t *testing.T) {
			client, server := connect(t)
			defer client.Close()
			done := make(chan error, 1)
			go func() {
				_, err := h.Do(server, time.Now())
				done <- err
			}()
			if _, err := io.WriteString(client, text[:10]); err != nil {
				t.Fatalf("write: %v", err)
			}
			server.Close()
			if err := <-done; endOf(nil, err) != broken || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// halfSocket is a socket whose writing side can be shut.
type halfSocket struct {
	*script
	told string // what was written before it was shut
	shut int
}

func (h *halfSocket) CloseWrite() error {
	h.told, h.shut = h.out.String(), h.shut+1
	return nil
}

// TestHalfClose: the writing side is shut behind a refusal, and only then, so
// that a peer that reads to the end need not wait for the linger to be over.
func TestHalfClose(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for text, want := range map[string]end{
		"nonsense\r\n\r\n":                  refused,
		upgradeHead().String():              upgraded,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n": passed,
		"GET / HT":                          broken,
	} {
		s := &halfSocket{script: newScript(text)}
		up, err := h.Do(s, time.Now())
		if got := endOf(up, err); got != want {
			t.Errorf("%q: %s", text, got)
		}
		if (s.shut == 1) != (want == refused) || s.shut > 1 || s.shut == 1 && s.told != s.out.String() {
			t.Errorf("%s: shut %d times, after %q", want, s.shut, s.told)
		}
	}
}

// faultySocket fails at the nth call of SetDeadline, or at the first Write.
type faultySocket struct {
	*script
	deadlines int
	failAt    int
	failWrite bool
}

var errSocket = errors.New("socket broke")

func (f *faultySocket) SetDeadline(time.Time) error {
	f.deadlines++
	if f.deadlines == f.failAt {
		return errSocket
	}
	return nil
}

func (f *faultySocket) Write(p []byte) (int, error) {
	if f.failWrite {
		return 0, errSocket
	}
	return f.script.Write(p)
}

func (f *faultySocket) CloseWrite() error { return errSocket }

func TestSocketFaults(t *testing.T) {
	good, other, bad := upgradeHead().String(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "nonsense\r\n\r\n"
	for name, c := range map[string]struct {
		text      string
		failAt    int
		failWrite bool
		want      end
	}{
		"no deadline can be set":      {good, 1, false, broken},
		"deadline can't be cleared":   {good, 2, false, broken},
		"nor for a passed request":    {other, 2, false, broken},
		"no deadline for the refusal": {bad, 2, false, refused},
		"refusal can't be written":    {bad, 0, true, refused},
		"writing side can't be shut":  {bad, 0, false, refused},
	} {
		t.Run(name, func(t *testing.T) {
			s := &faultySocket{script: newScript(c.text), failAt: c.failAt, failWrite: c.failWrite}
			up, err := newHandshaker(t, handshake.DefaultOptions()).Do(s, time.Now())
			if got := endOf(up, err); got != c.want || c.want == broken && !errors.Is(err, errSocket) {
				t.Errorf("%s: %v", got, err)
			}
			if up != nil {
				t.Errorf("came back with %+v", up)
			}
		})
	}
}
