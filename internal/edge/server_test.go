package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/test/harness"
)

func mustAddrPort(s string) netip.AddrPort { return must(netip.ParseAddrPort(s)) }

// TestFallback: what is not for a WebSocket path goes to the HTTP handler, one
// request for each socket.
func TestFallback(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		status, body, err := harness.Fetch(ctx, "http://"+e.addr+"/healthz")
		if err != nil || status != http.StatusOK || body != "ok" {
			t.Errorf("got %d %q, %v", status, body, err)
		}
		for _, path := range []string{"/", "/wss", "/ws/", "/ws/other", "/WS"} {
			if status, _, err := harness.Fetch(ctx, "http://"+e.addr+path); err != nil || status != http.StatusNotFound {
				t.Errorf("%s: %d, %v", path, status, err)
			}
		}
		request := "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
		if got := strings.Count(e.exchange(t, request+request), "200 OK"); got != 1 {
			t.Errorf("%d of 2 pipelined requests were answered, want the first", got)
		}
		if got := e.hub.Totals().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
		// A client that keeps its side open does not hold up the drain.
		idle := must(net.Dial("tcp", e.addr))
		defer idle.Close()
		if _, err := io.WriteString(idle, request); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(idle), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%v", err)
		}
		_ = answer.Body.Close()
		if err := e.drain(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestPlainHTTPOnWebSocketPath: 426 says what is spoken there.
func TestPlainHTTPOnWebSocketPath(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		for _, path := range []string{"/ws", "/ws/admin", "/ws?x=/healthz"} {
			if status, _, err := harness.Fetch(t.Context(), "http://"+e.addr+path); err != nil || status != http.StatusUpgradeRequired {
				t.Errorf("%s: %d, %v", path, status, err)
			}
		}
	})
}

// TestRefusedByTheNode: full, not ready and draining are 503 with Retry-After,
// and counted.
func TestRefusedByTheNode(t *testing.T) {
	full := func(o *edge.Options) { o.MaxConnections = 2 }
	onEachDriver(t, full, func(t *testing.T, e *env) {
		first := e.dial(t, who{})
		e.dial(t, who{})
		e.refused(t, who{}, http.StatusServiceUnavailable)
		if answer := e.exchange(t, rawHead("/ws", "")); !strings.Contains(answer, "\r\nRetry-After: 10\r\n") {
			t.Errorf("got %s", answer)
		}
		if got := e.metric(t, "pushd_edge_refused_total", "node_full"); got != 2 {
			t.Errorf("counted %g", got)
		}
		first.hangUp()
		e.awaitConnections(t, 1)
		c := e.dial(t, who{})

		e.bus.set(func(b *fakeBus) { b.away = true })
		first = c
		first.hangUp()
		e.awaitConnections(t, 1)
		e.refused(t, who{}, http.StatusServiceUnavailable)
		if answer := e.exchange(t, rawHead("/ws", "")); !strings.Contains(answer, "\r\nRetry-After: 2\r\n") {
			t.Errorf("got %s", answer)
		}
		if got := e.metric(t, "pushd_edge_refused_total", "not_ready"); got != 2 {
			t.Errorf("counted %g", got)
		}
		e.bus.set(func(b *fakeBus) { b.away = false })
		e.dial(t, who{})
	})
}

// TestFailuresPerAddress: an address that keeps trying bad tokens gets the close
// frame and no patience; good tokens from there, and others, do not notice.
func TestFailuresPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, ln := newPipeEnv(t, nil)
		// try returns the first frame that the server sends.
		try := func(remote, token string) ws.Frame {
			conn, r, answer := ln.knock(t, remote, token)
			defer conn.Close()
			if answer.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %v", answer)
			}
			return must(ws.ReadFrame(r))
		}
		refused := func() float64 { return e.metric(t, "pushd_edge_refused_total", "auth_failures") }
		// A failure counts for a tenth of a second, 100 are allowed at once.
		failures := 0
		for ; failures < 400 && refused() == 0; failures++ {
			f := try("192.0.2.1:1", "bad")
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != 4201 {
				t.Fatalf("failure %d: %d", failures, code)
			}
			eventually(t, func() error {
				return wantEqual(e.metric(t, "pushd_edge_tokens_refused_total", "4201"), float64(failures+1))
			})
		}
		if failures <= 100 || failures == 400 {
			t.Fatalf("cut short after %d failures", failures)
		}
		good := token(t, who{})
		for _, remote := range []string{"192.0.2.1:2", "192.0.2.2:1"} {
			if f := try(remote, good); !strings.Contains(string(f.Payload), `"connection"`) {
				t.Errorf("good token from %s: %q", remote, f.Payload)
			}
		}
		// What is merely too old, or not enough, is no attack.
		before := refused()
		old := token(t, who{expires: time.Now().Add(-time.Hour)})
		if code, _ := ws.ParseCloseFrameData(try("192.0.2.1:3", old).Payload); code != 4200 || refused() != before {
			t.Errorf("expired token: %d, %g refused", code, refused()-before)
		}
	})
}

// TestAcceptErrors: what is temporary pauses, anything else ends Serve.
func TestAcceptErrors(t *testing.T) {
	e := newQuietEnv(t, nil)
	ln := newChanListener()
	served := make(chan error, 1)
	e.serving.Go(func() { served <- e.server.Serve(ln) })
	for _, err := range []error{syscall.EMFILE, syscall.ECONNABORTED, fmt.Errorf("accept: %w", syscall.ENFILE)} {
		ln.put(&net.OpError{Op: "accept", Err: err})
	}
	conn := ln.pipe("192.0.2.1:1")
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || !strings.Contains(string(text), "200 OK") {
		t.Errorf("%q, %v", text, err)
	}
	ln.put(errors.New("broken"))
	if err := <-served; err == nil || err.Error() != "accept: broken" {
		t.Errorf("ended with %v", err)
	}
}

// TestHandshakeFlood: sockets that send nothing are bounded in number; for one
// more the oldest is closed, so that who has something to say gets in at once.
// All are gone after the handshake timeout.
func TestHandshakeFlood(t *testing.T) {
	synctest.Test(t, checkHandshakeFlood)
}

func checkHandshakeFlood(t *testing.T) {
	const most = 4096
	e, ln := newPipeEnv(t, nil)
	conns := make([]net.Conn, most)
	for i := range conns {
		conns[i] = ln.pipe("192.0.2.1:1")
	}
	if n := runtime.NumGoroutine(); n > most+100 {
		t.Errorf("%d goroutines", n)
	}
	late := ln.pipe("192.0.2.2:1")
	if _, err := io.WriteString(late, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(late); err != nil || !strings.Contains(string(text), "200 OK") {
		t.Errorf("one more: %q, %v", text, err)
	}
	if _, err := conns[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest: %v", err)
	}
	if got := e.metric(t, "pushd_edge_refused_total", "busy"); got != 1 {
		t.Errorf("counted %g", got)
	}
	for _, c := range conns {
		// The answer is given up when nobody reads it at once.
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		conn := ln.pipe("192.0.2.1:1")
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		text, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(text), "200 OK") {
			return fmt.Errorf("%q, %w", text, err)
		}
		return nil
	})
}

// failingDriver can't take sockets.
type failingDriver struct{ poll.Driver }

func (failingDriver) Attach(net.Conn, []byte, poll.Handler) (poll.Socket, error) {
	return nil, errors.New("no more descriptors")
}

// TestAttachFails: the client is told 1011 and nothing is kept.
func TestAttachFails(t *testing.T) {
	e := newEnv(t, func(o *edge.Options) {
		o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return failingDriver{poll.NewGoroutine(l)}, nil }
	})
	e.upgrade(t, "/ws", token(t, who{user: "ann"})).expectClose(1011)
	if got := e.hub.Totals(); got.Connections != 0 || got.Tenants != 0 {
		t.Errorf("%+v", got)
	}
}

// TestDriverFails: a hub whose loops can't all be made leaves none.
func TestDriverFails(t *testing.T) {
	o := edge.DefaultOptions()
	o.Loops = 3
	made := 0
	o.NewDriver = func(l sync.Locker) (poll.Driver, error) {
		if made++; made == 3 {
			return nil, errors.New("no more descriptors")
		}
		return poll.New(l)
	}
	if _, err := edge.NewHub(o); err == nil || !strings.Contains(err.Error(), "no more descriptors") {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	if err := edge.DefaultOptions().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for want, change := range map[string]tweak{
		"loops":                         func(o *edge.Options) { o.Loops = 0 },
		"loops must be 1 to 64":         func(o *edge.Options) { o.Loops = 65 },
		"max message bytes":             func(o *edge.Options) { o.MaxMessageBytes = 1023 },
		"max channels per connection":   func(o *edge.Options) { o.MaxChannelsPerConnection = 0 },
		"max connections per user":      func(o *edge.Options) { o.MaxConnectionsPerUser = 0 },
		"max connections must not":      func(o *edge.Options) { o.MaxConnections = -1 },
		"inbound rate":                  func(o *edge.Options) { o.InboundRate = 0 },
		"inbound burst":                 func(o *edge.Options) { o.InboundBurst = 0 },
		"outbound queue bytes":          func(o *edge.Options) { o.OutboundQueueBytes = 1023 },
		"outbound queue frames":         func(o *edge.Options) { o.OutboundQueueFrames = 0 },
		"message timeout":               func(o *edge.Options) { o.MessageTimeout = time.Second - 1 },
		"outbound max age":              func(o *edge.Options) { o.OutboundMaxAge = time.Second - 1 },
		"ping interval":                 func(o *edge.Options) { o.PingInterval = time.Second - 1 },
		"longer than the ping interval": func(o *edge.Options) { o.IdleTimeout = o.PingInterval },
		"drain window":                  func(o *edge.Options) { o.DrainWindow = -1 },
	} {
		o := edge.DefaultOptions()
		change(&o)
		if _, err := edge.NewHub(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	bad := edge.DefaultOptions()
	bad.Loops, bad.InboundBurst = 0, 0
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "loops") || !strings.Contains(err.Error(), "burst") {
		t.Errorf("two faults: %v", err)
	}
}

// TestBadHandshakeOptions: the server says so, and starts nothing.
func TestBadHandshakeOptions(t *testing.T) {
	o := edge.DefaultOptions()
	o.Handshake.AllowOrigins = []string{"nonsense"}
	hub := must(edge.NewHub(o))
	defer hub.Close()
	verifier := must(auth.NewVerifier(auth.Options{Secrets: [][]byte{[]byte(secret)}}))
	if _, err := edge.NewServer(hub, verifier, nil, nil, http.NotFoundHandler()); err == nil {
		t.Error("a server was made")
	}
}

func TestDefaultsAreValidOnLargeMachines(t *testing.T) {
	for _, cpus := range []int{1, 2, 64, 200} {
		before := runtime.GOMAXPROCS(cpus)
		o := edge.DefaultOptions()
		runtime.GOMAXPROCS(before)
		if err := o.Validate(); err != nil {
			t.Errorf("%d CPUs: %v", cpus, err)
		}
	}
}

// TestOneRequestPerSocket: the next one could be an upgrade, which only a fresh
// socket can be.
func TestOneRequestPerSocket(t *testing.T) {
	e := newEnv(t, nil)
	conn := must(net.Dial("tcp", e.addr))
	defer conn.Close()
	must(io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
	if text := string(must(io.ReadAll(conn))); !strings.Contains(text, "200 OK") || !strings.Contains(text, "Connection: close") {
		t.Errorf("got %q", text)
	}
}
