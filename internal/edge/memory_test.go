package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/message"
)

// memoryDriver has sockets that take everything and send nothing. It counts
// their writes.
type memoryDriver struct {
	lock    sync.Locker
	written *arrivals
	closing sync.WaitGroup
}

// arrivals counts writes and announces when as many as were asked for came.
type arrivals struct {
	n, want atomic.Int64
	done    chan struct{} // capacity 1
}

func (a *arrivals) expect(n int64) {
	a.n.Store(0)
	a.want.Store(n)
}

func (a *arrivals) add() {
	if a.n.Add(1) == a.want.Load() {
		a.done <- struct{}{}
	}
}

func (d *memoryDriver) Attach(_ net.Conn, _ []byte, h poll.Handler) (poll.Socket, error) {
	d.closing.Add(1)
	return &memorySocket{driver: d, handler: h}, nil
}

func (d *memoryDriver) Wait() { d.closing.Wait() }

func (d *memoryDriver) Close() {}

type memorySocket struct {
	driver  *memoryDriver
	handler poll.Handler
	once    sync.Once
}

func (s *memorySocket) Start() {}

func (s *memorySocket) Write(bufs [][]byte) (int, error) {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	s.driver.written.add()
	return n, nil
}

// CloseWrite makes the peer go too.
func (s *memorySocket) CloseWrite() error {
	s.Close()
	return nil
}

func (s *memorySocket) Close() {
	s.once.Do(func() {
		go func() { // Wait waits for it
			defer s.driver.closing.Done()
			s.driver.lock.Lock()
			defer s.driver.lock.Unlock()
			s.handler.Closed(nil)
		}()
	})
}

// upgradeConn is a connection that asks for an upgrade and takes the answer.
type upgradeConn struct{ head *strings.Reader }

func (c upgradeConn) Read(p []byte) (int, error)     { return c.head.Read(p) }
func (upgradeConn) Write(p []byte) (int, error)      { return len(p), nil }
func (upgradeConn) Close() error                     { return nil }
func (upgradeConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (upgradeConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (upgradeConn) SetDeadline(time.Time) error      { return nil }
func (upgradeConn) SetReadDeadline(time.Time) error  { return nil }
func (upgradeConn) SetWriteDeadline(time.Time) error { return nil }

var _ io.Reader = upgradeConn{}

// newMemoryEnv makes a server with n connections in memory, all of tenant acme and
// of one dialect.
func newMemoryEnv(t testing.TB, n int, dialect string) (*env, *arrivals) {
	t.Helper()
	written := &arrivals{done: make(chan struct{}, 1)}
	e := newQuietEnv(t, func(o *edge.Options) {
		o.Loops = 1
		o.PingInterval, o.IdleTimeout = time.Hour, 2*time.Hour
		o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return &memoryDriver{lock: l, written: written}, nil }
	})
	ln := newChanListener()
	e.serve(t, ln)
	head := rawHead("/ws", token(t, who{}))
	if dialect != "" {
		head = strings.TrimSuffix(head, "\r\n") + "Sec-WebSocket-Protocol: " + dialect + "\r\n\r\n"
	}
	for range n {
		ln.put(upgradeConn{strings.NewReader(head)})
	}
	e.awaitConnections(t, uint64(n))
	return e, written
}

// broadcast delivers one message to all and waits until it was written to all.
func broadcast(e *env, written *arrivals, n int, m *message.Message) {
	written.expect(int64(n))
	e.hub.Deliver(m)
	<-written.done
}

// TestBroadcastAllocations: a message is encoded once, and what its delivery
// allocates does not depend on how many receive it, in any dialect.
func TestBroadcastAllocations(t *testing.T) {
	measure := func(receivers int, dialect string) float64 {
		e, written := newMemoryEnv(t, receivers, dialect)
		m := &message.Message{ID: message.NewID(), Target: tenantTarget("acme"), Payload: []byte(`{"type":"x","data":"0123456789"}`)}
		broadcast(e, written, receivers, m) // the queues get their places
		got := testing.AllocsPerRun(50, func() { broadcast(e, written, receivers, m) })
		if err := e.drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for dialect, most := range map[string]float64{"": 6, jsonDialect: 8, protoDialect: 30} {
		few, many := measure(10, dialect), measure(1000, dialect)
		if many > few+3 || few > most {
			t.Errorf("%s: %g allocations for 10 receivers, %g for 1000", dialect, few, many)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, receivers := range []int{1, 10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(receivers), func(b *testing.B) {
			e, written := newMemoryEnv(b, receivers, "")
			m := &message.Message{
				ID: message.NewID(), Target: tenantTarget("acme"), Payload: []byte(`{"type":"x","data":"` + strings.Repeat("x", 200) + `"}`),
			}
			b.ReportAllocs()
			for b.Loop() {
				broadcast(e, written, receivers, m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/receiver")
		})
	}
}
