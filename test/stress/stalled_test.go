package stress_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/bench"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// stallTenant is whose channel "bench" the generator's clients join.
	stallTenant = "bench"
	// fillerSize is the size of what clogs those that don't read, in bytes.
	fillerSize = 64 << 10
	// queueCap is the default of --outbound-queue-bytes.
	queueCap = 1 << 20
	// maxSlowdown is how far the 99th percentile of the others may move.
	maxSlowdown = 1.10
	// pairs is how many rounds of each kind are compared. It is fixed: who stops
	// when the figures please stops too often at a pass.
	pairs = 31
	// lookEvery is how many messages of filler are sent between two looks at
	// the server.
	lookEvery = 20
)

// TestStalledClients: 1 % of the clients stop reading, again and again. Each
// gets what was out and then 4101 when it reads again, the memory holds their
// queues and no more, and the others lose nothing.
func TestStalledClients(t *testing.T) {
	ctx := bounded(t, inLong(20*time.Minute, patience))
	s := newStalls(ctx, t, inLong(10, 2))
	s.pace = 5 * time.Millisecond
	s.filler = func() string { return strings.Repeat("x", fillerSize) }
	if o := s.traffic(); suite.long {
		s.compare(ctx, t, o)
	} else {
		s.stalled(ctx, t, o)
	}
	s.report(t)
}

// traffic is what the others get.
func (s *stalls) traffic() bench.TrafficOptions {
	return bench.TrafficOptions{
		Clients: 99 * len(s.tokens), PayloadBytes: 200, Rate: inLong(20.0, 10), InFlight: 16,
		Warmup: time.Second, Duration: inLong(4*time.Second, 2*time.Second),
	}
}

// report tells what became of the clients, and fails if nothing did.
func (s *stalls) report(t *testing.T) {
	t.Helper()
	if s.closed == 0 {
		t.Error("no client was closed")
	}
	t.Logf("%d clients were closed with 4101; memory rose by %s at most while %d don't read", s.closed, mib(s.rise), len(s.tokens))
}

// compare holds the others' 99th percentile against that of rounds in which the
// same clients get the same, and read it. The two kinds take turns, as the
// machine may have other things to do; what it does to single rounds is much
// more than what is looked for, so that it takes many of them to see it.
func (s *stalls) compare(ctx context.Context, t *testing.T, o bench.TrafficOptions) {
	t.Helper()
	var ratios, reading, stalled []float64
	for range pairs {
		reading = append(reading, s.round(ctx, t, o, false).P99)
		stalled = append(stalled, s.stalled(ctx, t, o).P99)
		last := len(stalled) - 1
		ratios = append(ratios, stalled[last]/reading[last])
	}
	slices.Sort(ratios)
	t.Logf("p99 of the others in µs, medians of %d rounds: %.0f while 1 %% don't read, %.0f while they do; pairs: %.2f",
		len(ratios), median(stalled), median(reading), ratios)
	if got := median(ratios); got > maxSlowdown {
		t.Errorf("the others' p99 grew %.2f times, more than %.2f", got, maxSlowdown)
	}
}

// stalled is a round in which the clients of s stall.
func (s *stalls) stalled(ctx context.Context, t *testing.T, o bench.TrafficOptions) bench.Latency {
	t.Helper()
	m := startMeter(t, s.node)
	latency := s.round(ctx, t, o, true)
	// Garbage may double what is held, or be 32 MiB; the other clients take
	// something, and the race detector makes three of each byte.
	limit := 2*int64(len(s.tokens))*(queueCap+fillerSize) + inLong[int64](64<<20, 256<<20)
	rise := m.rise(t)
	s.rise = max(s.rise, rise)
	if rise > limit {
		t.Errorf("memory rose by %s with %d clients that don't read, more than %s", mib(rise), len(s.tokens), mib(limit))
	}
	return latency
}

// stalls are the clients that stop reading.
type stalls struct {
	node   *harness.Node
	api    pushdv1.ControlServiceClient
	load   bench.Server
	tokens []string
	// filler returns fillerSize bytes without quotes.
	filler func() string
	// header holds more lines of the upgrade.
	header []string
	// pace is the time from one filler to the next.
	pace time.Duration
	// compressed is how many compressed messages the closed clients got.
	compressed int
	// closed is how many were closed so far.
	closed int
	// rise is how far the memory rose at most while they stalled, in bytes.
	rise int64
}

func newStalls(ctx context.Context, t *testing.T, count int) *stalls {
	t.Helper()
	n := startNode(ctx, t)
	_, conn, err := harness.Control(n.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	load, err := bench.NewPushd(ctx, bench.Target{WebSocket: n.WebSocket(), Secret: []byte(secret), Tenant: stallTenant, PID: n.PID}, conn)
	if err != nil {
		t.Fatal(err)
	}
	s := &stalls{node: n, api: control(t, n), load: load}
	for i := range count {
		s.tokens = append(s.tokens, sign(t, stallTenant, staller(i)))
	}
	return s
}

// round measures the others while the clients of s stall, or not. It fails if
// the others lost a message.
func (s *stalls) round(ctx context.Context, t *testing.T, o bench.TrafficOptions, stall bool) bench.Latency {
	t.Helper()
	aside, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var err error
	running.Go(func() {
		for err == nil && aside.Err() == nil {
			err = s.generation(ctx, aside, stall)
		}
	})
	r, measureErr := bench.Fanout(ctx, s.load, o)
	stop()
	running.Wait()
	if err := errors.Join(err, measureErr); err != nil {
		t.Fatal(err)
	}
	return r.Latency
}

// generation connects the clients and clogs them: those that stall until each
// was closed, the others until aside ends. Those that were closed read what is
// left.
func (s *stalls) generation(ctx, aside context.Context, stall bool) error {
	peers := make([]*peer, 0, len(s.tokens))
	defer func() {
		for _, p := range peers {
			_ = p.close()
		}
	}()
	for _, token := range s.tokens {
		p, err := s.join(ctx, token)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	if !stall {
		return s.clogReaders(ctx, aside, peers)
	}
	s.closed += len(peers)
	if err := s.clog(ctx, func(closed int) bool { return closed == s.closed }); err != nil {
		return err
	}
	errs := make([]error, len(peers))
	var reading sync.WaitGroup
	for i, p := range peers { // at once: the server does not wait for long
		reading.Go(func() {
			if err := p.awaitClose(); !isClosed(err, 4101) {
				errs[i] = fmt.Errorf("a client that reads again: %w", err)
			}
		})
	}
	reading.Wait()
	for _, p := range peers {
		s.compressed += p.compressed
	}
	return errors.Join(errs...)
}

// clogReaders clogs clients that read.
func (s *stalls) clogReaders(ctx, aside context.Context, peers []*peer) error {
	var reading sync.WaitGroup
	for _, p := range peers {
		reading.Go(func() { _ = p.awaitClose() }) // until it is closed below
	}
	err := s.clog(ctx, func(int) bool { return aside.Err() != nil })
	for _, p := range peers {
		err = errors.Join(err, p.close())
	}
	reading.Wait()
	return err
}

// join connects a client, which joins the generator's channel and reads no more
// than that.
func (s *stalls) join(ctx context.Context, token string) (*peer, error) {
	p, err := dialPeer(ctx, s.node.HTTP, token, s.header...)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		p.conn.SetDeadline(time.Now().Add(patience)),
		p.request("join_channel", "", map[string]string{"channel": "tenant:" + stallTenant + ":bench"}),
	)
	for joined := false; err == nil && !joined; {
		var text []byte
		text, err = p.next()
		joined = strings.Contains(string(text), `"channel_joined"`)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// clog sends filler to each client in turn until done, which is told how many
// clients were closed so far. None of it is shared: each queue holds its own.
func (s *stalls) clog(ctx context.Context, done func(closed int) bool) error {
	ticker := time.NewTicker(s.pace)
	defer ticker.Stop()
	for i := 0; ; i++ {
		if i%lookEvery == 0 {
			closed, err := s.node.Metric(ctx, "pushd_edge_closed_total", `code="4101"`)
			if err != nil || done(int(closed)) {
				return err
			}
		}
		// Not stored: it is the queues that are measured, not the store.
		_, err := s.api.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
			Store:    pushdv1.Store_STORE_NEVER,
			TenantId: stallTenant, UserId: staller(i % len(s.tokens)), Payload: &pushdv1.NotifyUserRequest_Json{Json: `"` + s.filler() + `"`},
		})
		if err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// staller names a client that stalls.
func staller(i int) string { return fmt.Sprintf("staller-%d", i) }

// median returns the middle of all, at least one.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
