package stress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/bench"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// fileLimit is how many descriptors the process may have.
	fileLimit = 96
	// crowd is how many want in at once: more than can be taken.
	crowd = fileLimit + 30
	// watchFor is how long the cost of having no descriptors is measured.
	watchFor = 2 * time.Second
	// idleShare is how much of a processor that may take.
	idleShare = 0.2
)

// limited launches a command with few descriptors. They must be limited before
// the process starts: Go raises a soft limit by itself.
func limited() []string {
	return []string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(fileLimit)}
}

// TestNoDescriptors: a process that can accept nothing more waits without
// spinning and serves those that it has. Those that wait get in once it can take
// them.
func TestNoDescriptors(t *testing.T) {
	besides(t)
	const waiting = 20
	ctx := bounded(t, patience)
	st := newShortStand(ctx, t, "--handshake-timeout", "10m")
	var hogs []net.Conn
	for range crowd { // they ask for nothing
		conn, err := dialTCP(ctx, st.node.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		hogs = append(hogs, conn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	all := newClients(ctx, t, st.node, waiting)
	st.checkPaused(ctx, t)
	if files := openFiles(t, st.node); files < fileLimit || all.in.Load() > 0 {
		t.Errorf("%d of %d descriptors are open, and %d clients got in", files, fileLimit, all.in.Load())
	}
	for _, conn := range hogs {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := all.await(ctx, waiting); err != nil {
		t.Error(err)
	}
	if refused := all.refused.Load(); refused > 0 {
		t.Errorf("%d clients were refused", refused)
	}
	st.checkFriend(ctx, t, "after")
}

// TestMoreClientsThanDescriptors: the same with clients that become connections.
// Those that find no room wait, or are told to come again if a descriptor was
// there to accept them but none to take them over, and one that does gets in once
// there is room.
func TestMoreClientsThanDescriptors(t *testing.T) {
	besides(t)
	ctx := bounded(t, patience)
	st := newShortStand(ctx, t)
	all := newClients(ctx, t, st.node, crowd)
	st.checkPaused(ctx, t)
	in := int(all.in.Load())
	if in == 0 || in >= fileLimit {
		t.Fatalf("%d clients got in with %d descriptors", in, fileLimit)
	}
	// As many leave as may wait, and when nobody does, some more.
	all.leave(t, crowd-in)
	if err := all.await(ctx, crowd); err != nil {
		t.Error(err)
	}
	all.leave(t, in/3)
	if err := harness.Eventually(ctx, func(context.Context) error {
		if now := openFiles(t, st.node); now > fileLimit-in/4 {
			return fmt.Errorf("%d of %d descriptors are open", now, fileLimit)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	late, err := harness.Dial(ctx, st.node.WebSocket(), sign(t, "acme", "late"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
	st.checkFriend(ctx, t, "after")
	t.Logf("%d of %d clients got in with %d descriptors, %d more later, %d were refused",
		in, crowd, fileLimit, int(all.in.Load())-in, all.refused.Load())
}

// shortStand is a node that is short of descriptors, and one client of it.
type shortStand struct {
	node   *harness.Node
	api    pushdv1.ControlServiceClient
	friend *harness.Socket
}

func newShortStand(ctx context.Context, t *testing.T, args ...string) *shortStand {
	t.Helper()
	n := startBehind(ctx, t, limited(), append([]string{"--max-connections-per-user", "1000"}, args...)...)
	st := &shortStand{node: n, api: control(t, n)}
	var err error
	if st.friend, err = harness.Dial(ctx, n.WebSocket(), sign(t, "acme", "ann"), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.friend.Close() })
	st.checkFriend(ctx, t, "before") // which opens the connection of the calls
	return st
}

// checkPaused waits until the node accepts no more, and looks at what that
// costs and at the client that was there.
func (st *shortStand) checkPaused(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := harness.Eventually(ctx, func(context.Context) error {
		if !strings.Contains(st.node.Log(), "accept paused") {
			return errors.New("accept was not paused")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	share := cpuShare(ctx, t, st.node)
	if share > idleShare {
		t.Errorf("having no descriptors cost %.0f %% of a processor", 100*share)
	}
	st.checkFriend(ctx, t, "meanwhile")
	t.Logf("having no descriptors cost %.1f %% of a processor", 100*share)
}

// cpuShare measures how much of a processor the node takes.
func cpuShare(ctx context.Context, t *testing.T, n *harness.Node) float64 {
	t.Helper()
	process, began := bench.Process{PID: n.PID}, time.Now()
	before, err := process.CPU()
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(watchFor)
	defer ticker.Stop()
	select {
	case <-ticker.C:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	after, err := process.CPU()
	if err != nil {
		t.Fatal(err)
	}
	return float64(after-before) / float64(time.Since(began)) // which a busy machine makes longer
}

// checkFriend fails unless the client gets a notification and an answer.
func (st *shortStand) checkFriend(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	_, err := st.api.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: `{}`},
	})
	if err == nil {
		_, err = st.friend.Expect(ctx, "notification")
	}
	if err == nil {
		err = st.friend.SendText(`{"type":"ping"}`)
	}
	if err == nil {
		_, err = st.friend.Expect(ctx, "pong")
	}
	if err != nil {
		t.Errorf("the client that was there %s: %v", when, err)
	}
}

// clients counts what became of many that want in.
type clients struct {
	in, refused atomic.Int64
	mu          sync.Mutex
	inside      []*peer // that got in
	// other is an end that none should have; nil: there was none.
	other atomic.Pointer[error]
}

// newClients lets so many clients ask for a connection, one after the other.
// They end with the test.
func newClients(ctx context.Context, t *testing.T, n *harness.Node, count int) *clients {
	t.Helper()
	all := &clients{}
	token := sign(t, "acme", "crowd")
	var following sync.WaitGroup
	t.Cleanup(following.Wait)
	for range count {
		conn, err := dialTCP(ctx, n.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		p := newPeer(conn)
		t.Cleanup(func() { _ = p.close() })
		if _, err := io.WriteString(conn, upgradeRequest(token)); err != nil {
			t.Fatal(err)
		}
		following.Go(func() { all.follow(p) }) // ends with the connection
	}
	return all
}

// leave ends so many of those that got in.
func (all *clients) leave(t *testing.T, count int) {
	t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	count = min(count, len(all.inside))
	for _, p := range all.inside[:count] {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
	all.inside = all.inside[count:]
}

// await waits until each of so many is in, or refused as it should be.
func (all *clients) await(ctx context.Context, count int64) error {
	return harness.Eventually(ctx, func(context.Context) error {
		if other := all.other.Load(); other != nil {
			return harness.Permanent(fmt.Errorf("a client that waited: %w", *other))
		}
		if in, refused := all.in.Load(), all.refused.Load(); in+refused < count {
			return fmt.Errorf("of %d clients %d got in and %d were refused", count, in, refused)
		}
		return nil
	})
}

// follow counts p once it has its first message, or is refused: accept may get
// the last descriptor, and none is left to take the connection over.
func (all *clients) follow(p *peer) {
	err := p.readHead()
	if err == nil {
		_, err = p.next()
	}
	switch {
	case err == nil:
		all.mu.Lock()
		all.inside = append(all.inside, p)
		all.mu.Unlock()
		all.in.Add(1)
		_ = p.awaitClose() // Answers pings.
	case isClosed(err, 4100), isClosed(err, 1011):
		all.refused.Add(1)
	case !errors.Is(err, net.ErrClosed): // by the end of the test
		all.other.Store(&err)
	}
	_ = p.close()
}
