package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/delivery"
	"github.com/aegisx/pushd/test/harness"
)

// kept are the flags for histories that hold all that a test sends.
func kept() []string {
	return []string{"--channel-history", "room:*=10000/1h", "--inbox-history", "10000/1h"}
}

// bounded returns a context that ends with the test, or after limit.
func bounded(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// member is a node of a mesh, which can be started again where it was.
type member struct {
	*harness.Node

	binary, dir, name string
	args              []string
}

func (m *member) start(ctx context.Context) (err error) {
	m.Node, err = harness.Start(ctx, m.binary, m.dir, m.name, m.args...)
	return err
}

// startMesh runs three nodes that keep the history together until the test ends.
func startMesh(ctx context.Context, t *testing.T, binary string, args ...string) []*member {
	t.Helper()
	addrs, err := harness.FreeAddrs(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	var mesh []*member
	var peers []string
	for i, name := range []string{"a", "b", "c"} {
		dir, err := os.MkdirTemp(suite.dir, "node-")
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, "--cluster-peers", "nats://"+addrs[i])
		mesh = append(mesh, &member{binary: binary, dir: dir, name: name, args: []string{
			"--jwt-secret-file", suite.secretFile, "--history-node", "--cluster-addr", addrs[i],
		}})
	}
	started := make(chan error, len(mesh))
	for _, m := range mesh {
		m.args = slices.Concat(m.args, peers, args)
		go func() { started <- m.start(ctx) }() // Each waits for the others; received below.
	}
	t.Cleanup(func() {
		for _, m := range mesh {
			if m.Node == nil {
				continue
			}
			if err := m.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	for range mesh {
		if err := <-started; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return mesh
}

// scene is what clients and publishers do to a cluster.
type scene struct {
	nodes  []*member // where clients and publishers connect
	ledger *delivery.Ledger

	tenants, channels int // channels of each tenant
	clients           int // of each tenant
	publishers        int
	messages          int // of all publishers
	pace              time.Duration

	// meanwhile is called once, when the half has been accepted.
	meanwhile func()
}

// result is what a scene came to.
type result struct {
	accepted, received, visits, gaps, skipped int
	// standstill is the longest time in which nothing was accepted.
	standstill time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%d accepted, %d received, %d visits, %d gaps with %d messages in them, nothing accepted for %s at most",
		r.accepted, r.received, r.visits, r.gaps, r.skipped, r.standstill.Round(time.Millisecond))
}

// gapsAllowed is the standstill from which gaps are no fault: what can't be read
// for 10 s is told as one, and a busy machine may be without a leader for so long.
const gapsAllowed = 8 * time.Second

// standstill returns the longest time in which nothing was accepted, until stop.
func standstill(l *delivery.Ledger, stop <-chan struct{}) (longest time.Duration) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	last, since := 0, time.Now()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return longest
		}
		if now := l.Accepted(); now != last {
			last, since = now, time.Now()
		}
		longest = max(longest, time.Since(since))
	}
}

// play runs s to its end, or to the first fault. The test's own log says with
// which seed.
func (s *scene) play(ctx context.Context, t *testing.T) result {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the scene
		select {
		case <-s.ledger.Found():
			cancel()
		case <-ctx.Done():
		}
	}()
	clients, feeds := s.cast(t)

	published := make(chan struct{})
	var joined, guests sync.WaitGroup
	joined.Add(len(clients))
	for i, c := range clients {
		guests.Go(func() {
			var once sync.Once
			first := func() { once.Do(joined.Done) }
			defer first()
			c.run(ctx, seed+uint64(i), published, first)
		})
	}
	joined.Wait()
	r := result{}
	var watching sync.WaitGroup
	watching.Go(func() { r.standstill = standstill(s.ledger, published) })
	s.publish(ctx, t, feeds)
	close(published)
	watching.Wait()
	guests.Wait()

	r.accepted = s.ledger.Accepted()
	judge := ctx.Err() == nil // else there is a fault, and nobody has all
	for _, c := range clients {
		r.visits += c.visits
		before := len(s.ledger.Faults())
		for _, track := range c.tracks {
			if judge {
				track.Finish()
			}
			r.received += track.Received()
			r.gaps += track.Gaps()
			r.skipped += track.Skipped()
		}
		if len(s.ledger.Faults()) > before {
			t.Logf("what %s/%s saw last:\n%s", c.tenant, c.user, strings.Join(c.trace, "\n"))
		}
	}
	return r
}

// cast makes the clients, and names all feeds.
func (s *scene) cast(t *testing.T) (clients []*client, feeds []delivery.Feed) {
	t.Helper()
	for i := range s.tenants {
		tenant := fmt.Sprintf("tenant%d", i)
		var channels []string
		for j := range s.channels {
			channels = append(channels, fmt.Sprintf("room:%d", j))
			feeds = append(feeds, delivery.Feed{Tenant: tenant, Channel: channels[j]})
		}
		for j := range s.clients {
			user := fmt.Sprintf("user%d", j)
			c, err := newClient(s.ledger, s.nodes, tenant, user, channels)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
			feeds = append(feeds, delivery.Feed{Tenant: tenant, Channel: inbox + user})
		}
	}
	return clients, feeds
}

// publish sends all messages; each feed has one publisher.
func (s *scene) publish(ctx context.Context, t *testing.T, feeds []delivery.Feed) {
	t.Helper()
	var running sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range s.publishers {
		p := &publisher{
			name: fmt.Sprintf("p%d", i), ledger: s.ledger, share: s.messages / s.publishers, pace: s.pace,
		}
		for j := range s.nodes {
			p.nodes = append(p.nodes, s.nodes[(i+j)%len(s.nodes)])
		}
		for j, f := range feeds {
			if j%s.publishers == i {
				p.feeds = append(p.feeds, f)
			}
		}
		running.Go(func() {
			if err := p.run(ctx); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if s.meanwhile != nil {
		running.Go(func() {
			err := harness.Eventually(ctx, func(context.Context) error {
				if n := s.ledger.Accepted(); n < s.messages/2 {
					return fmt.Errorf("%d accepted", n)
				}
				return nil
			})
			if err == nil {
				s.meanwhile()
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil && len(s.ledger.Faults()) == 0 {
		t.Error(*err)
	}
}
