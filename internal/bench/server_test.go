package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// fakeServer is a server that upgrades, waits for one message, says that it is
// ready, and then writes what it is told to.
type fakeServer struct {
	t  *testing.T
	ln net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func startFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	return startFakeServerFor(t, nil)
}

// startFakeServerFor is startFakeServer with another greeting.
func startFakeServerFor(t *testing.T, greet func(f *fakeServer, conn net.Conn)) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startFakeServerOn(t, ln, greet)
}

// startFakeServerOn is startFakeServerFor with another listener.
func startFakeServerOn(t *testing.T, ln net.Listener, greet func(f *fakeServer, conn net.Conn)) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, ln: ln}
	if greet == nil {
		greet = (*fakeServer).greet
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			running.Go(func() { greet(f, conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
		for _, conn := range f.conns {
			_ = conn.Close()
		}
	})
	return f
}

func (f *fakeServer) greet(conn net.Conn) {
	if _, err := ws.Upgrade(conn); err != nil {
		return // a client that was closed
	}
	got, err := wsutil.ReadClientText(conn)
	if err != nil {
		return
	}
	if string(got) != "join" {
		f.t.Errorf("a client sent %q", got)
	}
	_ = wsutil.WriteServerText(conn, []byte(`{"type":"ready"}`))
}

func (f *fakeServer) Client(int) (Client, error) {
	return Client{
		Addr: netip.MustParseAddrPort(f.ln.Addr().String()),
		Request: []byte("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + upgradeKey + "\r\n\r\n"),
		Join:  clientFrame(text("join")),
		Ready: []byte("ready"),
	}, nil
}

func (f *fakeServer) Broadcast(_ context.Context, m Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		if err := wsutil.WriteServerText(conn, []byte(m.JSON())); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeServer) Unicast(_ context.Context, i int, m Message) error {
	// One call at a time: frames must not mix.
	f.mu.Lock()
	defer f.mu.Unlock()
	return wsutil.WriteServerText(f.conns[i], []byte(m.JSON()))
}

// conn returns the i-th connection.
func (f *fakeServer) conn(i int) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns[i]
}

func (f *fakeServer) Process() Process { return Process{os.Getpid()} }

func TestScenarios(t *testing.T) {
	o := TrafficOptions{
		Clients: 20, PayloadBytes: 300, InFlight: 4, Warmup: 20 * time.Millisecond, Duration: 100 * time.Millisecond,
	}
	paced := o
	paced.Rate = 200
	for _, c := range []struct {
		name string
		run  func(s Server) (TrafficResult, error)
		// deliveries of one message
		each int64
	}{
		{"fanout, open loop", func(s Server) (TrafficResult, error) { return Fanout(t.Context(), s, paced) }, 20},
		{"fanout, closed loop", func(s Server) (TrafficResult, error) { return Fanout(t.Context(), s, o) }, 20},
		{"unicast, open loop", func(s Server) (TrafficResult, error) { return Unicast(t.Context(), s, paced) }, 1},
		{"unicast, closed loop", func(s Server) (TrafficResult, error) { return Unicast(t.Context(), s, o) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := c.run(startFakeServer(t))
			if err != nil {
				t.Fatal(err)
			}
			if r.Messages == 0 || r.Deliveries != r.Messages*c.each || r.Latency.P50 <= 0 || r.Latency.P99 < r.Latency.P50 || r.CPUMicros <= 0 {
				t.Errorf("result %+v", r)
			}
		})
	}
	t.Run("connect", func(t *testing.T) {
		r, err := Connect(t.Context(), startFakeServer(t), ConnectOptions{Clients: 20, InFlight: 3})
		if err != nil || r.PerSecond <= 0 || r.Latency.P50 <= 0 || r.CPUMicros <= 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
	t.Run("idle", func(t *testing.T) {
		r, err := Idle(t.Context(), startFakeServer(t), IdleOptions{Low: 5, High: 20, InFlight: 3, Settle: time.Nanosecond})
		if err != nil || r.LowRSS <= 0 || r.HighRSS <= 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
}

// TestDrivers runs the same story on both drivers.
func TestDrivers(t *testing.T) {
	for name, start := range map[string]newDriverFunc{"best": newDriver, "streams": newStreams} {
		t.Run(name+", deliver", func(t *testing.T) {
			f := startFakeServer(t)
			p := openTestPool(t, f, start)
			c := newTally(10, 1, true)
			p.tally.Store(c)
			if err := f.Broadcast(t.Context(), Message{Bytes: 100_000}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-c.slots[0].done:
			case <-p.failed:
				t.Fatal(p.cause)
			}
			if n := p.connects.count.Load(); n != 10 {
				t.Errorf("%d connects were timed, want 10", n)
			}
		})
		t.Run(name+", close frame", func(t *testing.T) {
			f := startFakeServer(t)
			p := openTestPool(t, f, start)
			if err := ws.WriteFrame(f.conn(3), ws.NewCloseFrame(ws.NewCloseFrameBody(4101, "slow_consumer"))); err != nil {
				t.Fatal(err)
			}
			<-p.failed
			if !strings.Contains(p.cause.Error(), "4101") {
				t.Errorf("failed with %v", p.cause)
			}
		})
		t.Run(name+", lost", func(t *testing.T) {
			f := startFakeServer(t)
			p := openTestPool(t, f, start)
			if err := f.conn(3).Close(); err != nil {
				t.Fatal(err)
			}
			<-p.failed
			if !errors.Is(p.cause, errLost) {
				t.Errorf("failed with %v", p.cause)
			}
		})
		t.Run(name+", nobody listens", func(t *testing.T) {
			f := startFakeServer(t)
			clients, err := clientsOf(f, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			_ = f.ln.Close()
			if _, err := openPool(t.Context(), clients, 3, nil, start); err == nil {
				t.Error("connected to nobody")
			}
		})
		t.Run(name+", cancelled", func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			clients := []Client{{Addr: netip.MustParseAddrPort(ln.Addr().String()), Ready: []byte("ready")}}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := openPool(ctx, clients, 3, nil, start); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func openTestPool(t *testing.T, f *fakeServer, start newDriverFunc) *pool {
	t.Helper()
	clients, err := clientsOf(f, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPool(t.Context(), clients, 3, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestTooManyClients(t *testing.T) {
	clients := make([]Client, 3_000_000)
	_, err := openPool(t.Context(), clients, 1, nil, func(*pool, []*session, int) (driver, error) {
		return nil, errors.New("there is no limit here")
	})
	if err == nil || !strings.Contains(err.Error(), "ulimit -n") && !strings.Contains(err.Error(), "no limit") {
		t.Errorf("error %v", err)
	}
}

func TestProcessUnknown(t *testing.T) {
	cpu, err := Process{}.CPU()
	rss, rssErr := Process{}.RSS()
	if cpu != 0 || rss != 0 || err != nil || rssErr != nil {
		t.Error(cpu, rss, err, rssErr)
	}
}

func TestOptionsValidate(t *testing.T) {
	good := TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: 1, Duration: 1}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for i, bad := range []interface{ Validate() error }{
		TrafficOptions{PayloadBytes: MinPayload, InFlight: 1, Duration: 1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload - 1, InFlight: 1, Duration: 1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, Duration: 1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: 1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: 1, Duration: time.Hour, Rate: 1e6},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: 1, Duration: 1, Rate: -1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: 1, Duration: 1, Warmup: -1},
		TrafficOptions{Clients: 1, PayloadBytes: maxPayload + 1, InFlight: 1, Duration: 1},
		TrafficOptions{Clients: 1, PayloadBytes: MinPayload, InFlight: maxInFlight + 1, Duration: 1},
		ConnectOptions{Clients: 1}, ConnectOptions{InFlight: 1}, ConnectOptions{Clients: 1, InFlight: 1, Hold: -1},
		IdleOptions{Low: 1, High: 1, InFlight: 1, Settle: 1},
		IdleOptions{High: 1, InFlight: 1, Settle: 1},
		IdleOptions{Low: 1, High: 2, Settle: 1}, IdleOptions{Low: 1, High: 2, InFlight: 1},
	} {
		if bad.Validate() == nil {
			t.Errorf("case %d: %+v is valid", i, bad)
		}
	}
}

func TestProgress(t *testing.T) {
	for want, p := range map[string]Progress{
		"5 of 10 connections, 10/s, 0.5 s": {What: "connections", Done: 5, Total: 10, Elapsed: time.Second / 2},
		"5 deliveries, 5/s, 1.0 s":         {What: "deliveries", Done: 5, Elapsed: time.Second},
		"0 deliveries, 0/s, 0.0 s":         {What: "deliveries"},
		"5 connections held, 1.0 s":        {What: "connections held", Done: 5, Elapsed: time.Second, Level: true},
	} {
		if got := fmt.Sprint(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	shown := make(chan Progress, 10)
	stop := watch(func(p Progress) { shown <- p }, func() Progress { return Progress{Done: 7} })
	if p := <-shown; p.Done != 7 {
		t.Errorf("shown %v", p)
	}
	stop()
}
