package edge_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/test/harness"
)

// narrow gives the client's kernel little room, so that what it does not read
// waits at the server.
func (c *client) narrow() *client {
	c.t.Helper()
	if err := c.Conn().(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// TestSlowConsumer: a client that reads nothing is closed and loses its queue,
// and that is all: another one gets every message in order meanwhile. When the
// slow one reads again it gets what was out before, whole and in order, and then
// 4101. Each message that was meant for it was either received or counted.
func TestSlowConsumer(t *testing.T) {
	const size = 32 << 10
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		slow, quick := e.dial(t, who{user: "slow"}).narrow(), e.dial(t, who{user: "quick"})
		slow.join(room)
		quick.join(room)
		target := channelTarget("acme", room)
		filler, sent := strings.Repeat("x", size), 0
		send := func(n int) {
			for range n {
				e.deliver(target, fmt.Sprintf(`{"type":"%d","data":{"x":"%s"}}`, sent, filler))
				if m := quick.next(); m.Type != fmt.Sprint(sent) {
					t.Fatalf("got %.50s, want %d", m.Text, sent)
				}
				sent++
			}
		}
		for e.metric(t, "pushd_edge_closed_total", "4101") == 0 {
			// The kernels hold some, the queue a MiB.
			if send(5); sent > 400 {
				t.Fatalf("not closed after %d messages", sent)
			}
		}
		totals := e.hub.Totals()
		if totals.Channels != 1 || e.bus.count(target) != 1 {
			t.Errorf("%+v, %d members", totals, e.bus.count(target))
		}
		// The queue held a MiB of them, and is gone.
		if totals.Dropped < 20 {
			t.Errorf("%d were dropped", totals.Dropped)
		}
		if got := e.metric(t, "pushd_edge_dropped_total", "slow_consumer"); got == 0 {
			t.Error("no drop was counted")
		}
		received := uint64(0)
		for ; ; received++ {
			m, err := slow.Next(t.Context())
			var closed *harness.Closed
			if errors.As(err, &closed) && closed.Code == 4101 {
				break
			}
			if err != nil {
				t.Fatalf("after %d messages: %v", received, err)
			}
			if m.Type != fmt.Sprint(received) || len(m.Data) != size+8 {
				t.Fatalf("got %.50s of %d bytes, want %d", m.Text, len(m.Data), received)
			}
		}
		// The quick one got all that was sent, so the rest was for the slow one.
		if offered := totals.MessagesOut - uint64(sent); received+totals.Dropped != offered {
			t.Errorf("%d received and %d dropped of %d", received, totals.Dropped, offered)
		}
		send(100)
		quick.quiet()
	})
}

// TestSlowConsumersMemory: however much is sent to clients that don't read, no
// more is held than their queues may hold. It runs alone, for the heap is
// everybody's.
func TestSlowConsumersMemory(t *testing.T) {
	const clients, messages = 8, 100 // of 64 KiB: 50 MiB
	for name, driver := range drivers() {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(o *edge.Options) { o.NewDriver = driver })
			for i := range clients {
				e.dial(t, who{user: fmt.Sprint(i)}).narrow()
			}
			before := heap()
			for i := range clients {
				e.clog(userTarget("acme", fmt.Sprint(i)), messages)
			}
			eventually(t, func() error { return wantEqual(e.metric(t, "pushd_edge_closed_total", "4101"), clients) })
			if grown := heap() - before; grown > (clients+4)<<20 {
				t.Errorf("%d bytes are held", grown)
			}
		})
	}
}

// TestStalledCompression: messages that shrink a hundredfold on the wire count
// with all the memory they hold, so a client that does not read is closed with
// hardly more than its bound in the queue.
func TestStalledCompression(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c, negotiated := e.dialDeflate(t, who{user: "ann"})
		if !negotiated {
			t.Fatal("not negotiated")
		}
		c.next()
		// Not of zeros: of those the kernels take thousands.
		block := make([]byte, 8<<10)
		_, _ = rand.Read(block)
		large := `{"type":"x","data":"` + strings.Repeat(hex.EncodeToString(block), 64) + `"}`
		for n := 0; e.metric(t, "pushd_edge_closed_total", "4101") == 0; n++ {
			if n > 10_000 { // the kernels take some hundreds
				t.Fatal("never closed")
			}
			e.deliver(userTarget("acme", "ann"), large)
		}
		// The one that was admitted whole, one that was partly out, and the one
		// that did not fit.
		if dropped := e.metric(t, "pushd_edge_dropped_total", "slow_consumer"); dropped < 1 || dropped > 3 {
			t.Errorf("%g messages of a MiB were in the queue", dropped)
		}
	})
}

// heap returns the bytes in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep survives one
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestQueueBounds: a message that is larger than the queue goes to an empty
// one; a queue takes as many bytes and messages as its bounds say.
func TestQueueBounds(t *testing.T) {
	tight := func(o *edge.Options) { o.OutboundQueueBytes = 1024 }
	onEachDriver(t, tight, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		big := `{"type":"x","data":"` + strings.Repeat("x", 1<<20) + `"}`
		for range 5 {
			e.deliver(userTarget("acme", "ann"), big)
			c.expectText(big)
			c.quiet()
		}
	})
	few := func(o *edge.Options) { o.OutboundQueueFrames, o.OutboundQueueBytes = 16, 1<<30 }
	onEachDriver(t, few, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"}).narrow()
		e.overflow(t, userTarget("acme", "ann"))
		// What the kernels hold is at most a few more than that.
		for n := 0; ; n++ {
			_, err := c.Next(t.Context())
			var closed *harness.Closed
			if errors.As(err, &closed) && closed.Code == 4101 {
				return
			}
			if err != nil || n > 200 {
				t.Fatalf("after %d messages: %v", n, err)
			}
		}
	})
}

// TestGreeting: it goes out in one write with the answer to the upgrade, and has
// room beside it in the smallest queue.
func TestGreeting(t *testing.T) {
	smallest := func(o *edge.Options) { o.OutboundQueueFrames, o.OutboundQueueBytes = 1, 1024 }
	onEachDriver(t, smallest, func(t *testing.T, e *env) {
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w := who{user: strings.Repeat("a", address.MaxUser)}
		if _, err := io.WriteString(conn, rawHead("/ws", token(t, w), v1Field)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		_, greeting, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
		if err != nil || !strings.Contains(greeting, `"type":"connection"`) {
			t.Errorf("first came %q, %v", buf[:n], err)
		}
	})
}

// TestCloseAfterBacklog: a client that is behind, but not too far, gets all of
// it before the close frame of a fault.
func TestCloseAfterBacklog(t *testing.T) {
	roomy := func(o *edge.Options) { o.OutboundQueueBytes = 1 << 30 }
	onEachDriver(t, roomy, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"}).narrow()
		e.clog(userTarget("acme", "ann"), 40)
		if err := c.SendFrame(ws.NewBinaryFrame(nil)); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return wantEqual(e.metric(t, "pushd_edge_closed_total", "1003"), 1) })
		for range 40 {
			c.expect("x")
		}
		c.expectClose(1003)
	})
}

// TestFraming: what is written in pieces, to a client that reads byte by byte,
// is a sequence of whole frames with the messages in order.
func TestFraming(t *testing.T) {
	const messages = 1000
	roomy := func(o *edge.Options) { o.OutboundQueueBytes = 1 << 30 }
	onEachDriver(t, roomy, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"}).narrow()
		text := func(i int) string {
			size := []int{0, 20, 95, 96, 97, 98, 300}[i%7]
			if i%400 == 399 {
				size = 65_530 + i/400
			}
			return fmt.Sprintf(`{"type":"%04d","data":"%s"}`, i, strings.Repeat("x", size))
		}
		for i := range messages {
			e.deliver(userTarget("acme", "ann"), text(i))
		}
		if err := c.Conn().SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		r := iotest.OneByteReader(c.Conn())
		for i := range messages {
			h, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			want := ws.Header{Fin: true, OpCode: ws.OpText, Length: int64(len(text(i)))}
			if h != want {
				t.Fatalf("header %+v, want %+v", h, want)
			}
			payload := make([]byte, h.Length)
			if _, err := io.ReadFull(r, payload); err != nil {
				t.Fatal(err)
			}
			if string(payload) != text(i) {
				t.Fatalf("message %d is %.50s", i, payload)
			}
		}
	})
}

// TestPings: the server pings a silent client, and one that answers goes on. One
// that was closed and never reads is cut once the time for its queue is over, and
// nothing of it stays.
func TestPings(t *testing.T) {
	quick := func(o *edge.Options) { o.PingInterval = time.Second }
	onEachDriver(t, quick, func(t *testing.T, e *env) {
		stuck := e.dial(t, who{user: "stuck"}).narrow()
		e.overflow(t, userTarget("acme", "stuck"))
		c := e.dial(t, who{user: "ann"})
		for range 2 {
			f, err := readFrame(c.Conn())
			if err != nil || f.Header.OpCode != ws.OpPing {
				t.Fatalf("got %+v %q, %v", f.Header, f.Payload, err)
			}
			if err := c.SendFrame(ws.NewPongFrame(f.Payload)); err != nil {
				t.Fatal(err)
			}
		}
		c.quiet()
		e.awaitConnections(t, 1)
		stuck.hangUp()
	})
}

// TestIdleTimeout: who answers pings lives on beyond the idle timeout; who does
// not is closed when it is over.
func TestIdleTimeout(t *testing.T) {
	const interval, idle = time.Second, 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		_, ln := newPipeEnv(t, func(o *edge.Options) { o.PingInterval, o.IdleTimeout = interval, idle })
		// follow reads until the close frame, and returns its code and how many pings
		// came.
		follow := func(user string, answers time.Duration) (code ws.StatusCode, pings int, silent time.Duration) {
			conn, r, _ := ln.knock(t, "192.0.2.1:1", token(t, who{user: user}))
			began := time.Now()
			last := began
			for {
				f, err := readFrame(r)
				if err != nil {
					t.Fatal(err)
				}
				switch f.Header.OpCode {
				case ws.OpPing:
					pings++
					if time.Since(began) > answers {
						continue
					}
					if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewPongFrame(f.Payload))); err != nil {
						t.Fatal(err)
					}
					last = time.Now()
				case ws.OpClose:
					code, _ := ws.ParseCloseFrameData(f.Payload)
					return code, pings, time.Since(last)
				}
			}
		}
		for answers, least := range map[time.Duration]int{-1: 1, time.Minute: 30} {
			code, pings, silent := follow("ann", answers)
			if code != 4102 || pings < least || silent < idle || silent > idle+3*interval {
				t.Errorf("closed with %d after %d pings, and %s of silence", code, pings, silent)
			}
		}
	})
}
