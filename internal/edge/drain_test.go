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
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

// TestDrainSpreads: every client gets 4000, one after the other over the
// window, and is served until then.
func TestDrainSpreads(t *testing.T) {
	const clients, window = 40, 2 * time.Second
	spread := func(o *edge.Options) { o.DrainWindow, o.MaxConnectionsPerUser = window, clients }
	onEachDriver(t, spread, func(t *testing.T, e *env) {
		all := make([]*client, clients)
		for i := range all {
			all[i] = e.dial(t, who{user: fmt.Sprint(i % 7)})
		}
		wait := e.drainAside(t, t.Context())
		ends := make([]time.Time, clients)
		var reading sync.WaitGroup
		for i, c := range all {
			reading.Go(func() {
				// Not end: its faults may only be told from the test's goroutine.
				closed, err := c.AwaitClose(t.Context())
				if err != nil || closed.Code != 4000 {
					t.Errorf("client %d: %v, %v", i, closed, err)
				}
				ends[i] = time.Now()
				_ = c.Close()
			})
		}
		e.deliver(address.AllTarget(), `{"type":"x"}`)
		reading.Wait()
		wait()
		order := slices.Clone(ends)
		slices.SortFunc(order, time.Time.Compare)
		// How far apart they are does not depend on when the first comes.
		half, whole := order[clients*3/4].Sub(order[clients/4]), order[clients-1].Sub(order[0])
		if half < window/8 || whole < window/2 {
			t.Errorf("the middle half left within %s, all within %s", half, whole)
		}
		if slices.IsSortedFunc(ends, time.Time.Compare) {
			t.Error("the order is that of the connections")
		}
		if totals := e.hub.Totals(); totals.Connections != 0 || totals.MessagesOut == 0 {
			t.Errorf("%+v", totals)
		}
	})
}

// TestDrainEndsWithContext: what is left is cut, and the cause comes back.
func TestDrainEndsWithContext(t *testing.T) {
	long := func(o *edge.Options) { o.DrainWindow = time.Hour }
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
		started := time.Now()
		if err := e.drain(ctx); !errors.Is(err, cause) {
			t.Errorf("drain: %v", err)
		}
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("took %s", took)
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
// finished, and is refused with 503 then; one that is never finished holds up
// the drain for no longer than the handshake timeout.
func TestDrainWaitsForHandshakes(t *testing.T) {
	quick := func(o *edge.Options) { o.Handshake.Timeout = time.Second }
	onEachDriver(t, quick, func(t *testing.T, e *env) {
		head := rawHead("/ws", token(t, who{}))
		half, never := must(net.Dial("tcp", e.addr)), must(net.Dial("tcp", e.addr))
		defer half.Close()
		defer never.Close()
		for _, conn := range []net.Conn{half, never} {
			must(io.WriteString(conn, head[:40]))
		}
		// The listener takes them in order: what comes later is proof.
		e.dial(t, who{}).hangUp()
		wait := e.drainAside(t, t.Context())
		eventually(t, func() error {
			if conn, err := net.Dial("tcp", e.addr); err == nil {
				_ = conn.Close()
				return errors.New("still listening")
			}
			return nil
		})
		must(io.WriteString(half, head[40:]))
		if answer := string(must(io.ReadAll(half))); !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "Retry-After: 1\r\n") {
			t.Errorf("finished: %q", answer)
		}
		if answer := string(must(io.ReadAll(never))); !strings.HasPrefix(answer, "HTTP/1.1 408 ") {
			t.Errorf("never finished: %q", answer)
		}
		wait()
		// The last knock may have been let in before the listener was closed.
		if got := e.metric(t, "pushd_edge_refused_total", "draining"); got != 1 && got != 2 {
			t.Errorf("counted %g", got)
		}
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
