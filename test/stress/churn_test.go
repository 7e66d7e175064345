package stress_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

const (
	churnTenants = 4
	// churnUsers is how many users a tenant has that come and go.
	churnUsers = 20
	// resident is the user of each tenant who stays all the time.
	resident = churnUsers
	// maxFaults is how many faults end the churn.
	maxFaults = 10
)

// TestChurn: clients come and go, in all the ways there are, while messages
// flow. Descriptors and the server's places are used again and again; not one
// byte goes to the wrong connection, and those who stay miss nothing.
func TestChurn(t *testing.T) {
	ctx := bounded(t, inLong(40*time.Minute, 2*patience))
	c := newChurn(ctx, t, inLong[int64](1_000_000, 3000))
	filesBefore := openFiles(t, c.node)
	residents := c.startResidents(ctx, t)
	publishing, stop := context.WithCancel(ctx)
	var publishers sync.WaitGroup
	publishers.Go(func() { c.broadcast(publishing) })
	publishers.Go(func() { c.notify(publishing) })

	watch := watchFiles(ctx, c.node, func() { t.Logf("%d of %d connects", min(c.begun.Load(), c.total), c.total) })
	began := time.Now()
	c.run(ctx, inLong(256, 64))
	took := time.Since(began)
	highest := watch.stop(t)
	stop()
	publishers.Wait()
	c.endResidents(ctx, t, residents)
	c.check(t)
	c.checkNothingLeft(ctx, t, filesBefore)
	t.Logf("%d connects in %s, %.0f/s; descriptors up to %d were used, each %.0f times on average",
		c.total, took.Round(time.Millisecond), float64(c.total)/took.Seconds(), highest, float64(c.total)/float64(highest-filesBefore))
	t.Logf("clients got %d pongs, %d notifications, %d broadcasts, %d messages of clients; ends: %s",
		c.pongs.Load(), c.notifications.Load(), c.broadcasts.Load(), c.messages.Load(), c.endings())
}

// churn is what all its clients share.
type churn struct {
	// set once
	node   *harness.Node
	api    pushdv1.ControlServiceClient
	total  int64
	tokens [churnTenants][churnUsers + 1]string

	begun atomic.Int64 // connects
	// What clients that came and went received.
	pongs, notifications, broadcasts, messages atomic.Int64
	ended                                      [endings]atomic.Int64
	// What was sent to each tenant and its resident. Each has one sender.
	toTenant, toResident [churnTenants]int64

	mu     sync.Mutex
	faults []error
}

func newChurn(ctx context.Context, t *testing.T, total int64) *churn {
	t.Helper()
	c := &churn{node: startNode(ctx, t, "--max-connections-per-user", "10000"), total: total}
	c.api = control(t, c.node)
	for tenant := range c.tokens {
		for user := range c.tokens[tenant] {
			c.tokens[tenant][user] = sign(t, tenantName(tenant), userName(user))
		}
	}
	// The connection of the calls is open from here on.
	if _, err := c.api.Stats(ctx, &pushdv1.StatsRequest{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// run lets clients come and go until all have, so many at a time.
func (c *churn) run(ctx context.Context, atOnce int) {
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for {
				n := c.begun.Add(1)
				if n > c.total || ctx.Err() != nil || c.failed() {
					return
				}
				if err := newVisit(c, n).run(ctx); err != nil {
					c.fault(fmt.Errorf("connection %d: %w", n, err))
				}
			}
		})
	}
	workers.Wait()
}

func (c *churn) fault(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, err)
}

func (c *churn) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.faults) >= maxFaults
}

// endings lists how the connections ended.
func (c *churn) endings() string {
	all := make([]string, 0, endings)
	for e := range ending(endings) {
		all = append(all, fmt.Sprintf("%s %d", e, c.ended[e].Load()))
	}
	return strings.Join(all, ", ")
}

// broadcast sends to each tenant in turn until ctx ends.
func (c *churn) broadcast(ctx context.Context) {
	c.every(ctx, 10*time.Millisecond, func(i int) error {
		tenant := i % churnTenants
		c.toTenant[tenant]++
		_, err := c.api.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
			TenantId: tenantName(tenant), EventType: "news",
			Payload: &pushdv1.BroadcastTenantRequest_Json{Json: numbered(tenantMark(tenant), c.toTenant[tenant])},
		})
		return err
	})
}

// notify sends to each user in turn, and every other time to a resident, until
// ctx ends.
func (c *churn) notify(ctx context.Context) {
	c.every(ctx, time.Millisecond, func(i int) error {
		tenant, turn := i%churnTenants, i/churnTenants
		user, number := turn/2%churnUsers, int64(0)
		if turn%2 == 0 {
			user = resident
			c.toResident[tenant]++
			number = c.toResident[tenant]
		}
		_, err := c.api.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
			TenantId: tenantName(tenant), UserId: userName(user),
			Payload: &pushdv1.NotifyUserRequest_Json{Json: numbered(userMark(tenant, user), number)},
		})
		return err
	})
}

// numbered is the JSON of a message.
func numbered(mark string, n int64) string { return fmt.Sprintf(`{"mark":%q,"n":%d}`, mark, n) }

// every calls do at each tick until ctx ends; a call that ends with ctx is no
// fault, but the message may count as sent.
func (c *churn) every(ctx context.Context, tick time.Duration, do func(i int) error) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticker.C:
			if err := do(i); err != nil && ctx.Err() == nil {
				c.fault(fmt.Errorf("call: %w", err))
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// check fails for each fault, and if one kind of traffic was not there.
func (c *churn) check(t *testing.T) {
	t.Helper()
	for _, err := range c.faults {
		t.Error(err)
	}
	if c.begun.Load() < c.total {
		t.Errorf("ended after %d of %d connects", c.begun.Load(), c.total)
	}
	for what, got := range map[string]int64{
		"pongs": c.pongs.Load(), "notifications": c.notifications.Load(),
		"broadcasts": c.broadcasts.Load(), "messages of clients": c.messages.Load(),
	} {
		if got < c.total/200 {
			t.Errorf("only %d %s were received", got, what)
		}
	}
}

// checkNothingLeft waits until the server has forgotten all clients, and
// compares what it counted.
func (c *churn) checkNothingLeft(ctx context.Context, t *testing.T, filesBefore int) {
	t.Helper()
	err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := c.api.Stats(ctx, &pushdv1.StatsRequest{Fresh: true})
		if err != nil {
			return err
		}
		totals := answer.GetTotals()
		if totals.GetConnections()+totals.GetUsers()+totals.GetTenants()+totals.GetChannels() > 0 {
			return fmt.Errorf("left over: %s", totals)
		}
		if now := openFiles(t, c.node); now > filesBefore+4 { // A metrics query may linger.
			return fmt.Errorf("%d descriptors were open before, %d are now", filesBefore, now)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	opened := metric(ctx, t, c.node, "pushd_edge_opened_total", "")
	closed := metric(ctx, t, c.node, "pushd_edge_closed_total", "")
	if opened != closed || opened > int(c.total)+churnTenants {
		t.Errorf("%d connections were opened and %d closed, of %d", opened, closed, c.total)
	}
}

// fileWatch looks at the descriptors of a process until it is stopped.
type fileWatch struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	highest int
	err     error
}

// watchFiles starts a watch, which also calls tell now and then.
func watchFiles(ctx context.Context, n *harness.Node, tell func()) *fileWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &fileWatch{cancel: cancel}
	w.running.Go(func() { // stop ends it and waits
		look, say := time.NewTicker(20*time.Millisecond), time.NewTicker(20*time.Second)
		defer look.Stop()
		defer say.Stop()
		for {
			select {
			case <-look.C:
				_, highest, err := files(n)
				w.highest, w.err = max(w.highest, highest), errors.Join(w.err, err)
			case <-say.C:
				tell()
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

// stop returns the highest descriptor that was seen.
func (w *fileWatch) stop(t *testing.T) (highest int) {
	t.Helper()
	w.cancel()
	w.running.Wait()
	if w.err != nil {
		t.Error(w.err)
	}
	return w.highest
}

// stay is a client that is there all the time.
type stay struct {
	peer   *peer
	tenant int
	// tenantLast and ownLast are the numbers that came last.
	tenantLast, ownLast atomic.Int64
	// done is closed when it has ended; err is set then.
	done chan struct{}
	err  error
}

// startResidents connects the residents of all tenants; endResidents ends them.
func (c *churn) startResidents(ctx context.Context, t *testing.T) []*stay {
	t.Helper()
	all := make([]*stay, 0, churnTenants)
	for tenant := range churnTenants {
		p, err := dialPeer(ctx, c.node.HTTP, c.tokens[tenant][resident])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.close() })
		if _, err := p.next(); err != nil { // "connection": from here on, all must come
			t.Fatal(err)
		}
		s := &stay{peer: p, tenant: tenant, done: make(chan struct{})}
		go func() { // ends with the connection
			defer close(s.done)
			s.err = s.run()
		}()
		all = append(all, s)
	}
	return all
}

// run reads until the connection ends. Every message must have the number after
// the last one.
func (s *stay) run() error {
	for {
		text, err := s.peer.next()
		if err != nil {
			return err
		}
		own := userMark(s.tenant, resident)
		if err := checkMarks(text, own, tenantMark(s.tenant)); err != nil {
			return err
		}
		last := &s.tenantLast
		if strings.Contains(string(text), own) {
			last = &s.ownLast
		}
		want := fmt.Sprintf(`,"n":%d}`, last.Load()+1)
		if !strings.Contains(string(text), want) {
			return &wrongError{fmt.Sprintf("got %q, want %s", text, want)}
		}
		last.Add(1)
	}
}

// endResidents waits until each has got the last message, and ends them. The
// last call of a sender may not have been made: then one less must come.
func (c *churn) endResidents(ctx context.Context, t *testing.T, all []*stay) {
	t.Helper()
	for _, s := range all {
		err := harness.Eventually(ctx, func(context.Context) error {
			select {
			case <-s.done:
				return harness.Permanent(fmt.Errorf("the resident of %s: %w", tenantName(s.tenant), s.err))
			default:
			}
			tenant, own := s.tenantLast.Load(), s.ownLast.Load()
			if tenant < c.toTenant[s.tenant]-1 || own < c.toResident[s.tenant]-1 || own == 0 {
				return fmt.Errorf("the resident of %s got %d of %d broadcasts and %d of %d notifications",
					tenantName(s.tenant), tenant, c.toTenant[s.tenant], own, c.toResident[s.tenant])
			}
			return nil
		})
		err = errors.Join(err, s.peer.close())
		<-s.done
		if err != nil {
			t.Error(err)
		}
	}
}
