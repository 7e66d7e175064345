package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

// TestDrainSpreads: every client gets 4000, one after the other over the
// window, and is served until then.
func TestDrainSpreads(t *testing.T) {
	const clients, window = 40, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		e, ln := newPipeEnv(t, func(o *edge.Options) { o.DrainWindow, o.MaxConnectionsPerUser = window, clients })
		ends, heard := make([]time.Time, clients), make([]bool, clients)
		var reading sync.WaitGroup
		for i := range clients {
			conn, r, _ := ln.knock(t, "192.0.2.1:1", token(t, who{user: fmt.Sprint(i % 7)}))
			reading.Go(func() { // until the close frame
				for {
					f, err := readFrame(r)
					if err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
					heard[i] = heard[i] || string(f.Payload) == `{"type":"x"}`
					if f.Header.OpCode != ws.OpClose {
						continue
					}
					if code, _ := ws.ParseCloseFrameData(f.Payload); code != 4000 {
						t.Errorf("client %d: %d", i, code)
					}
					ends[i] = time.Now()
					_ = conn.Close()
					return
				}
			})
		}
		synctest.Wait()
		wait := e.drainAside(t, t.Context())
		pass(window/2 + time.Millisecond)
		half := time.Now()
		e.deliver(address.AllTarget(), `{"type":"x"}`)
		reading.Wait()
		wait()
		order := slices.Clone(ends)
		slices.SortFunc(order, time.Time.Compare)
		for i, at := range ends {
			if heard[i] != at.After(half) {
				t.Errorf("client %d left %s after the message, heard %v", i, at.Sub(half), heard[i])
			}
		}
		for i := range order[1:] {
			if pause := order[i+1].Sub(order[i]); pause > 2*window/clients {
				t.Errorf("nobody left for %s", pause)
			}
		}
		if whole := order[clients-1].Sub(order[0]); whole < window/2 || whole > window {
			t.Errorf("all left within %s", whole)
		}
		if slices.IsSortedFunc(ends, time.Time.Compare) {
			t.Error("the order is that of the connections")
		}
		if totals := e.hub.Totals(); totals.Connections != 0 || totals.MessagesOut == 0 {
			t.Errorf("%+v", totals)
		}
	})
}

// TestDrainAsksEverybody to leave, on each driver.
func TestDrainAsksEverybody(t *testing.T) {
	const clients = 40
	spread := func(o *edge.Options) { o.DrainWindow, o.MaxConnectionsPerUser = 200*time.Millisecond, clients }
	onEachDriver(t, spread, func(t *testing.T, e *env) {
		all := make([]*client, clients)
		for i := range all {
			all[i] = e.dial(t, who{user: fmt.Sprint(i % 7)})
		}
		wait := e.drainAside(t, t.Context())
		var reading sync.WaitGroup
		for i, c := range all {
			reading.Go(func() {
				// Not end: its faults may only be told from the test's goroutine.
				closed, err := c.AwaitClose(t.Context())
				if err != nil || closed.Code != 4000 {
					t.Errorf("client %d: %v, %v", i, closed, err)
				}
				_ = c.Close()
			})
		}
		reading.Wait()
		wait()
		if got := e.hub.Totals().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
	})
}

// TestDrainEndsWithContext: what is left is cut, and the cause comes back.
func TestDrainEndsWithContext(t *testing.T) {
	long := func(o *edge.Options) { o.DrainWindow, o.Handshake.Timeout = time.Hour, time.Hour }
	onEachDriver(t, long, func(t *testing.T, e *env) {
		// One of each: open, stuck, joining, connecting, and in the handshake.
		e.dial(t, who{})
		e.dial(t, who{user: "stuck"}).narrow()
		e.clog(userTarget("acme", "stuck"), 10)
		joining := e.dial(t, who{})
		e.bus.holdBack(address.KindChannel, address.KindTenant)
		joining.send(joinRoom("1"))
		e.upgrade(t, "/ws", token(t, who{tenant: "other"}))
		e.bus.awaitHeld(t, 2)
		half := must(net.Dial("tcp", e.addr))
		defer half.Close()
		must(io.WriteString(half, "GET /ws HTTP/1.1\r\n"))

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
		defer stop.Stop()
		// Nothing else ends it within the hour.
		if err := e.drain(ctx); !errors.Is(err, cause) {
			t.Errorf("drain: %v", err)
		}
		if got := e.hub.Totals().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
		e.bus.settle(nil)
	})
}

// TestDrainOfEnded: with a context that has ended Drain cuts at once.
func TestDrainOfEnded(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		for range 10 {
			e.dial(t, who{})
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("drain: %v", err)
		}
		if got := e.hub.Totals().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
	})
}

// TestDrainWaitsForHandshakes: half a head that was accepted before may be
// finished, and is refused with 503 then.
func TestDrainWaitsForHandshakes(t *testing.T) {
	patient := func(o *edge.Options) { o.Handshake.Timeout = time.Hour }
	onEachDriver(t, patient, func(t *testing.T, e *env) {
		head := rawHead("/ws", token(t, who{}))
		half := must(net.Dial("tcp", e.addr))
		defer half.Close()
		must(io.WriteString(half, head[:40]))
		// The listener takes them in order: what comes later is proof.
		e.dial(t, who{}).hangUp()
		wait := e.drainAside(t, t.Context())
		e.awaitDeaf(t)
		must(io.WriteString(half, head[40:]))
		if answer := string(must(io.ReadAll(half))); !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "Retry-After: 1\r\n") {
			t.Errorf("finished: %q", answer)
		}
		wait()
		// The last knock may have been let in before the listener was closed.
		if got := e.metric(t, "pushd_edge_refused_total", "draining"); got != 1 && got != 2 {
			t.Errorf("counted %g", got)
		}
	})
}

// TestDrainEndsHandshakes: a head that is never finished holds up the drain for
// no longer than the handshake timeout.
func TestDrainEndsHandshakes(t *testing.T) {
	quick := func(o *edge.Options) { o.Handshake.Timeout = time.Second }
	onEachDriver(t, quick, func(t *testing.T, e *env) {
		never := must(net.Dial("tcp", e.addr))
		defer never.Close()
		must(io.WriteString(never, rawHead("/ws", "")[:40]))
		// What comes later is proof that this one was accepted, whatever its answer.
		e.exchange(t, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		wait := e.drainAside(t, t.Context())
		if answer := string(must(io.ReadAll(never))); !strings.HasPrefix(answer, "HTTP/1.1 408 ") {
			t.Errorf("never finished: %q", answer)
		}
		wait()
	})
}

// awaitDeaf waits until nobody listens any more.
func (e *env) awaitDeaf(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if conn, err := net.Dial("tcp", e.addr); err == nil {
			_ = conn.Close()
			return errors.New("still listening")
		}
		return nil
	})
}

// TestDrainWhileConnecting: whoever gets in while the drain begins is closed
// with 4000 or was never accepted; nobody stays.
func TestDrainWhileConnecting(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		head := rawHead("/ws", token(t, who{}))
		var dialing sync.WaitGroup
		began := make(chan struct{}, 1)
		for range 4 {
			dialing.Go(func() { // ends when nobody listens any more
				for {
					conn, err := net.Dial("tcp", e.addr)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, head); err == nil {
						_ = conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
						_, _ = io.Copy(io.Discard, conn)
					}
					_ = conn.Close()
					select {
					case began <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 20 {
			<-began
		}
		e.drainAside(t, t.Context())()
		dialing.Wait()
		if got := e.hub.Totals().Connections; got != 0 {
			t.Errorf("%d connections", got)
		}
	})
}

// TestDrainWhileConnectionOpens: a connection that still waits for its interest
// is closed like any other, and its references are given back.
func TestDrainWhileConnectionOpens(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		e.bus.holdBack(address.KindAll, address.KindTenant, address.KindUser)
		c := e.upgrade(t, "/ws", token(t, who{user: "ann"}))
		e.bus.awaitHeld(t, 3)
		wait := e.drainAside(t, t.Context())
		c.expectClose(4000)
		wait()
		e.bus.settle(nil)
	})
}

// TestCloseNowBeforeHandshakesEnd: nothing is waited for.
func TestCloseNowBeforeHandshakesEnd(t *testing.T) {
	slow := func(o *edge.Options) { o.Handshake.Timeout, o.DrainWindow = time.Hour, time.Hour }
	onEachDriver(t, slow, func(t *testing.T, e *env) {
		half := must(net.Dial("tcp", e.addr))
		defer half.Close()
		must(io.WriteString(half, "GET /ws HTTP/1.1\r\n"))
		clients := []*client{e.dial(t, who{}), e.dial(t, who{}), e.dial(t, who{})}
		wait := e.drainAside(t, t.Context())
		e.server.CloseNow()
		e.server.CloseNow()
		for _, c := range clients {
			// The first step of the drain may have come before.
			if closed := c.end(); closed.Code != 1001 && closed.Code != 4000 {
				t.Errorf("%v", closed)
			}
		}
		wait()
	})
}

// TestServeAfterDrain: it closes the listener and returns.
func TestServeAfterDrain(t *testing.T) {
	e := newQuietEnv(t, nil)
	if err := e.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln := newChanListener()
	if err := e.server.Serve(ln); err != nil {
		t.Errorf("serve: %v", err)
	}
	select {
	case <-ln.done:
	default:
		t.Error("the listener is open")
	}
}

// TestSeveralListeners: all are served, and closed by the drain.
func TestSeveralListeners(t *testing.T) {
	e := newEnv(t, nil)
	first := e.addr
	second := must(net.Listen("tcp", "127.0.0.1:0"))
	e.serve(t, second)
	for _, addr := range []string{first, second.Addr().String()} {
		e.addr = addr
		e.dial(t, who{}).hangUp()
	}
	if err := e.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{first, second.Addr().String()} {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens", addr)
		}
	}
}
