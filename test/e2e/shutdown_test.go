package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// endWithin bounds the end of a process that has nothing to wait for but what
// the test sets: far from what others wait for.
const endWithin = time.Minute

func connectMany(ctx context.Context, t *testing.T, n *harness.Node, count int) []*harness.Socket {
	t.Helper()
	var all []*harness.Socket
	for i := range count {
		all = append(all, connect(ctx, t, n, "acme", fmt.Sprintf("user-%d", i)))
	}
	return all
}

func awaitEnd(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	if code, err := n.Wait(ctx); err != nil || code != 0 {
		t.Errorf("exit code %d, %v\n%s", code, err, n.Log())
	}
}

func TestFirstSignalAsksClientsToLeave(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--drain-window", "1s")
	sockets := connectMany(ctx, t, n, 40)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i, s := range sockets {
		closed, err := s.AwaitClose(ctx)
		if err != nil || closed.Code != 4000 || closed.Reason != "drain" {
			t.Errorf("client %d: %v, %v", i, closed, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	awaitEnd(ctx, t, n)
}

// While clients leave, a node is not ready any more and takes no others, but calls.
// The clients leave over an hour, so that there is time to look, and then at once.
func TestDrainingNode(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--drain-window", "1h", "--drain-timeout", "2h")
	c := control(t, n)
	connectMany(ctx, t, n, 3)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := awaitProbe(ctx, "http://"+n.Metrics+"/readyz", http.StatusServiceUnavailable); err != nil {
		t.Error(err)
	}
	if status, _, err := harness.Fetch(ctx, "http://"+n.Metrics+"/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("healthz: %d, %v", status, err)
	}
	if _, err := c.BroadcastAll(ctx, &pushdv1.BroadcastAllRequest{
		EventType: "news", Payload: &pushdv1.BroadcastAllRequest_Json{Json: payload("last words")},
	}); err != nil {
		t.Errorf("call while draining: %v", err)
	}
	if _, err := harness.Dial(ctx, n.WebSocket(), sign(t, claims{"tenantId": "acme"}), nil); err == nil {
		t.Error("a new connection was taken while draining")
	}
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitEnd(ctx, t, n)
}

func TestSecondSignalHurries(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--drain-window", "1h", "--drain-timeout", "2h")
	sockets := connectMany(ctx, t, n, 20)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := awaitProbe(ctx, "http://"+n.Metrics+"/readyz", http.StatusServiceUnavailable); err != nil {
		t.Fatal(err)
	}
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	byCode := make(map[int]int)
	for i, s := range sockets {
		closed, err := s.AwaitClose(ctx)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		byCode[int(closed.Code)]++
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// The first step of the drain may have asked one or two to leave.
	if byCode[1001] < 15 || byCode[1001]+byCode[4000] != len(sockets) {
		t.Errorf("close codes %v", byCode)
	}
	awaitEnd(ctx, t, n)
}

// However often it is told to end, a node ends in order.
func TestManySignals(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	sockets := connectMany(ctx, t, n, 5)
	err := harness.Eventually(ctx, func(context.Context) error {
		for range 100 {
			if n.Signal(syscall.SIGTERM) != nil {
				return nil //nolint:nilerr // It has ended.
			}
		}
		return errors.New("still running")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if closed, err := s.AwaitClose(ctx); err != nil || closed.Code != 1001 && closed.Code != 4000 {
			t.Errorf("%v, %v", closed, err)
		}
	}
	awaitEnd(ctx, t, n)
}

// A client that does not answer must not keep the process.
func TestSilentClientDoesNotDelayTheEnd(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--drain-window", "0s", "--drain-timeout", "4s")
	connectMany(ctx, t, n, 5)
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitEnd(ctx, t, n)
}

// A stats call takes half a second when a node of the cluster does not answer:
// time enough for a signal to come in between.
func TestCallsInFlightFinish(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startAround(ctx, t, s, "a", "b")
	a, b := nodes[0], nodes[1]
	c := control(t, a)
	awaitStats(ctx, t, c, wantNodes("a", "b"))
	if err := b.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Kill(); err != nil { // It could not be asked to stop.
			t.Error(err)
		}
	})
	type outcome struct {
		answer *pushdv1.StatsResponse
		err    error
	}
	done := make(chan outcome, 1)
	w := &sentWatch{sent: make(chan struct{})}
	watched := control(t, a, grpc.WithStatsHandler(w))
	go func() {
		answer, err := watched.Stats(ctx, &pushdv1.StatsRequest{Fresh: true})
		done <- outcome{answer, err}
	}()
	select {
	case <-w.sent:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	if err := a.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o := <-done
	if o.err != nil || !slices.Equal(o.answer.GetMissingNodes(), []string{"b"}) {
		t.Errorf("call in flight: %v, %v", o.answer, o.err)
	}
	awaitEnd(ctx, t, a)
}

// sentWatch tells when the first request of a connection has been sent.
type sentWatch struct {
	sent chan struct{}
	once sync.Once
}

func (w *sentWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (w *sentWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (w *sentWatch) HandleConn(context.Context, stats.ConnStats) {}

func (w *sentWatch) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutPayload); ok {
		w.once.Do(func() { close(w.sent) })
	}
}

// Calls that race with the end either work or say that they did not.
func TestCallsDuringTheEnd(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--drain-window", "300ms")
	c := control(t, n)
	connectMany(ctx, t, n, 5)
	ended := make(chan error, 1)
	first := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			_, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
				TenantId: "acme", UserId: "user-1", Payload: &pushdv1.NotifyUserRequest_Json{Json: `{}`},
			})
			if err != nil {
				ended <- err
				return
			}
			if i == 0 {
				close(first)
			}
		}
	}()
	select {
	case <-first:
	case err := <-ended:
		t.Fatal(err)
	}
	if err := n.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that failed: %v", err)
	}
	awaitEnd(ctx, t, n)
}

func TestWrongStartsEndAtOnce(t *testing.T) {
	ctx := bounded(t)
	for name, args := range map[string][]string{
		"no key":             {"serve"},
		"weak secret":        {"serve", "--jwt-secret", "too short for a key"},
		"public gRPC":        {"serve", "--jwt-secret-file", suite.secretFile, "--grpc-addr", "0.0.0.0:0"},
		"public cluster":     {"serve", "--jwt-secret-file", suite.secretFile, "--cluster-addr", "0.0.0.0:0"},
		"public in dev":      {"serve", "--dev", "--http-addr", "0.0.0.0:0"},
		"external and mesh":  {"serve", "--dev", "--nats-url", "nats://127.0.0.1:1", "--cluster-addr", "127.0.0.1:0"},
		"unknown flag":       {"serve", "--no-such-flag"},
		"argument too many":  {"serve", "now"},
		"unknown subcommand": {"server"},
	} {
		t.Run(name, func(t *testing.T) {
			code, output := pushd(ctx, t, args...)
			if code != 2 {
				t.Errorf("exit code %d: %s", code, output)
			}
		})
	}
	t.Run("no NATS", func(t *testing.T) {
		code, output := pushd(ctx, t, "serve", "--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0",
			"--metrics-addr", "127.0.0.1:0", "--nats-url", "nats://127.0.0.1:1")
		if code != 1 {
			t.Errorf("exit code %d: %s", code, output)
		}
	})
}
