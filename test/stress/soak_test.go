package stress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// soakTenants share the clients, and groups of so many share a channel.
	soakTenants = 15
	soakGroup   = 10
	// connectAtOnce is how many clients connect at a time.
	connectAtOnce = 64
)

// TestSoak: many connections live through mixed load, while some leave and
// others come. No client misses a message or gets another's, and memory,
// goroutines and descriptors don't grow.
func TestSoak(t *testing.T) {
	besides(t)
	count, lasts := inLong(15_000, 300), soakTime(t)
	ctx := bounded(t, lasts+5*time.Minute)
	s := newSoak(ctx, t, count)
	s.connectAll(ctx, t)
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	load.Go(func() { s.every(loaded, inLong(250*time.Millisecond, 50*time.Millisecond), s.broadcast) })
	load.Go(func() { s.every(loaded, 5*time.Millisecond, s.notify) })
	load.Go(func() { s.every(loaded, 10*time.Millisecond, s.talk) })
	// 1 % a minute; the short run hurries.
	load.Go(func() { s.every(loaded, inLong(time.Minute*100/time.Duration(count), 50*time.Millisecond), s.replace) })
	samples := s.sample(loaded, t, lasts)
	stop()
	load.Wait()
	s.finish(ctx, t)
	t.Logf("%d connections for %s: %d broadcasts, %d notifications, %d messages of clients, %d clients replaced; received %d messages",
		count, lasts, sum(s.toTenant[:]), s.notified, s.said, s.replaced, s.received.Load())
	checkGrowth(t, samples)
}

// soakTime is how long the load lasts: SOAK_TIME in the long run.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	if !suite.long {
		return 4 * time.Second
	}
	text, ok := os.LookupEnv("SOAK_TIME")
	if !ok {
		return 10 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Second || d > 2*time.Hour {
		t.Fatalf("SOAK_TIME must be 10s to 2h, not %q", text)
	}
	return d
}

// soak is the load and all clients.
type soak struct {
	// set once
	node    *harness.Node
	api     pushdv1.ControlServiceClient
	members []*member

	received atomic.Int64
	heard    atomic.Int64 // messages of clients that were received
	failed   atomic.Pointer[error]

	// Each is touched by one goroutine of the load only.
	toTenant                 [soakTenants]int64
	toUser                   []int64 // by member
	notified, said, replaced int64
}

func newSoak(ctx context.Context, t *testing.T, count int) *soak {
	t.Helper()
	// Nothing is kept: it is connections that must not grow, while a store does
	// until it holds what its rules keep.
	s := &soak{node: startNode(ctx, t, "--inbox-history", "off"), toUser: make([]int64, count)}
	s.api = control(t, s.node)
	for i := range count {
		m := &member{soak: s, tenant: i % soakTenants, user: i / soakTenants}
		m.token = sign(t, tenantName(m.tenant), userName(m.user))
		s.members = append(s.members, m)
	}
	return s
}

// connectAll connects all clients, which end with the test.
func (s *soak) connectAll(ctx context.Context, t *testing.T) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		for _, m := range s.members {
			m.leave()
		}
	})
	var next atomic.Int64
	var connecting sync.WaitGroup
	for range connectAtOnce {
		connecting.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(s.members)) && s.failure() == nil; i = next.Add(1) - 1 {
				if err := s.members[i].connect(ctx); err != nil {
					s.fail(err)
				}
			}
		})
	}
	connecting.Wait()
	if err := s.failure(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d clients connected and joined in %s", len(s.members), time.Since(began).Round(time.Millisecond))
}

// fail notes a fault; the first one counts.
func (s *soak) fail(err error) { s.failed.CompareAndSwap(nil, &err) }

func (s *soak) failure() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// every calls do at each tick until ctx ends or something has failed. do is
// not cut short, so that what was sent is known.
func (s *soak) every(ctx context.Context, tick time.Duration, do func(context.Context) error) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for s.failure() == nil {
		select {
		case <-ticker.C:
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			if err := do(call); err != nil {
				s.fail(err)
			}
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// broadcast sends to a tenant.
func (s *soak) broadcast(ctx context.Context) error {
	tenant := rand.IntN(soakTenants)
	s.toTenant[tenant]++
	_, err := s.api.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
		TenantId: tenantName(tenant), EventType: "news",
		Payload: &pushdv1.BroadcastTenantRequest_Json{Json: numbered(tenantMark(tenant), s.toTenant[tenant])},
	})
	return err
}

// notify sends to a user.
func (s *soak) notify(ctx context.Context) error {
	i := rand.IntN(len(s.members))
	m := s.members[i]
	s.toUser[i]++
	s.notified++
	_, err := s.api.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: tenantName(m.tenant), UserId: userName(m.user),
		Payload: &pushdv1.NotifyUserRequest_Json{Json: numbered(userMark(m.tenant, m.user), s.toUser[i])},
	})
	return err
}

// talk lets a client say something to its group.
func (s *soak) talk(context.Context) error {
	s.said++
	return s.members[rand.IntN(len(s.members))].talk()
}

// replace lets a client leave and come again.
func (s *soak) replace(ctx context.Context) error {
	m := s.members[rand.IntN(len(s.members))]
	m.leave()
	s.replaced++
	return m.connect(ctx)
}

// finish waits until every client has got its last messages.
func (s *soak) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	err := harness.Eventually(bounded(t, patience), func(context.Context) error {
		if err := s.failure(); err != nil {
			return harness.Permanent(err)
		}
		for i, m := range s.members {
			if got, want := m.tenantLast.Load(), s.toTenant[m.tenant]; got != 0 && got != want {
				return fmt.Errorf("the client of %s got %d of %d broadcasts", m.own[1], got, want)
			}
			if got, want := m.ownLast.Load(), s.toUser[i]; got != 0 && got != want {
				return fmt.Errorf("the client of %s got %d of %d notifications", m.own[1], got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// Those that were being replaced could not hear; what was said last may be on
	// its way.
	want := float64(s.said * (soakGroup - 1))
	if err := harness.Eventually(bounded(t, patience), func(context.Context) error {
		if heard := float64(s.heard.Load()); heard < inLong(0.97, 0.8)*want {
			return fmt.Errorf("%.0f messages of clients were heard, want nearly %.0f", heard, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if heard := float64(s.heard.Load()); heard > want {
		t.Errorf("%.0f messages of clients were heard, more than %.0f", heard, want)
	}
	if got := metric(ctx, t, s.node, "pushd_edge_dropped_total", `reason="slow_consumer"`); got > 0 {
		t.Errorf("%d messages were dropped at slow consumers", got)
	}
}

func sum(all []int64) (total int64) {
	for _, n := range all {
		total += n
	}
	return total
}

var errMissed = errors.New("a message was missed")
