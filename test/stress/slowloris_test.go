package stress_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/harness"
)

// TestSlowloris: sockets that send a byte a second, or nothing, are gone in
// time, and good clients connect meanwhile.
func TestSlowloris(t *testing.T) {
	besides(t)
	ctx := bounded(t, patience)
	// How long a client that never finishes its request may keep its socket, and
	// a good one may wait for its connection. The small test shares the machine, and
	// finds only what would last.
	goneWithin := inLong(6*time.Second, patience/2)
	welcomeWithin := inLong(2*time.Second, patience/2)
	n := startNode(ctx, t)
	count := inLong(2000, 200)
	before := openFiles(t, n)
	m := startMeter(t, n)

	ends := make(chan loris, count)
	sockets := make([]*net.TCPConn, count)
	var readers sync.WaitGroup
	for i := range sockets {
		conn, err := dialTCP(ctx, n.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		sockets[i] = conn
		began := time.Now()
		if err := conn.SetReadDeadline(began.Add(patience)); err != nil {
			t.Fatal(err)
		}
		// Ends when the server closes, or at the deadline.
		readers.Go(func() {
			answer, err := io.ReadAll(conn)
			ends <- loris{string(answer), err, time.Since(began)}
		})
	}
	slow, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { trickle(slow, sockets) })
	good := welcomes{node: n, token: sign(t, "acme", "ann")}
	others.Go(func() { good.run(ctx, slow.Done()) })

	readers.Wait()
	stop()
	others.Wait()
	close(ends)
	var slowest time.Duration
	for end := range ends {
		slowest = max(slowest, end.took)
		if end.err != nil || !strings.HasPrefix(end.answer, "HTTP/1.1 408 ") {
			t.Errorf("a slow socket ended with %q, %v", end.answer, end.err)
		}
	}
	if slowest > goneWithin {
		t.Errorf("the last slow socket was gone after %s", slowest)
	}
	good.check(t, inLong(10, 1), welcomeWithin)
	for _, conn := range sockets {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	checkSlowloris(t, n, count, before)
	rise := m.rise(t)
	if limit := int64(count)*(64<<10) + 32<<20; rise > limit {
		t.Errorf("memory rose by %s, more than %s", mib(rise), mib(limit))
	}
	t.Logf("%d slow sockets were gone after at most %s; %d good clients connected meanwhile, in at most %s; memory rose by %s",
		count, slowest.Round(time.Millisecond), good.count, good.slowest.Round(time.Millisecond), mib(rise))
}

// loris is the end of a slow socket.
type loris struct {
	answer string
	err    error
	took   time.Duration
}

// checkSlowloris looks at what the server says of it.
func checkSlowloris(t *testing.T, n *harness.Node, count, filesBefore int) {
	t.Helper()
	ctx := bounded(t, patience)
	if got := metric(ctx, t, n, "pushd_handshake_rejected_total", `reason="timeout"`); got != count {
		t.Errorf("%d handshakes were counted as timed out, want %d", got, count)
	}
	if err := harness.Eventually(ctx, func(context.Context) error {
		// A connection of a metrics query may linger.
		if now := openFiles(t, n); now > filesBefore+4 {
			return fmt.Errorf("%d descriptors were open before, %d are now", filesBefore, now)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// trickle sends a request to every other socket, a byte a second, until ctx
// ends.
func trickle(ctx context.Context, sockets []*net.TCPConn) {
	text := upgradeRequest("token")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := range len(text) - 1 {
		for j, conn := range sockets {
			if j%2 == 0 {
				_, _ = io.WriteString(conn, text[i:i+1]) // The reader sees how it ends.
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// welcomes connects good clients one after the other. Its fields may be read
// after run.
type welcomes struct {
	node    *harness.Node
	token   string
	count   int
	slowest time.Duration
	err     error
}

// run connects, pings and leaves, once at least, until stop. A visit that has
// begun by then is finished.
func (w *welcomes) run(ctx context.Context, stop <-chan struct{}) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for w.err == nil {
		began := time.Now()
		w.err = w.visit(ctx)
		w.count++
		w.slowest = max(w.slowest, time.Since(began))
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

func (w *welcomes) visit(ctx context.Context) error {
	s, err := harness.Dial(ctx, w.node.WebSocket(), w.token, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.SendText(`{"type":"ping"}`); err != nil {
		return err
	}
	_, err = s.Expect(ctx, "pong")
	return err
}

// check fails unless all were welcome within a time, and at least so many.
func (w *welcomes) check(t *testing.T, least int, within time.Duration) {
	t.Helper()
	if w.err != nil || w.count < least || w.slowest > within {
		t.Errorf("%d good clients connected, in at most %s, then: %v", w.count, w.slowest, w.err)
	}
}
