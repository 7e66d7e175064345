package cluster_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/stats"
)

func channelName(t *testing.T, name string) address.Channel {
	t.Helper()
	c, err := address.ParseChannel(name)
	if err != nil {
		t.Fatalf("channel: %v", err)
	}
	return c
}

// give sets what a node counts.
func (n *node) give(t *testing.T, connections uint64, tenantNames ...string) {
	t.Helper()
	l := stats.Local{Totals: stats.Totals{
		Connections: connections, Users: connections, Tenants: uint64(len(tenantNames)), Channels: uint64(len(tenantNames)),
		MessagesIn: 1, MessagesOut: 2, BytesIn: 3, BytesOut: 4, Dropped: 5,
	}}
	for _, name := range tenantNames {
		id := tenant(t, name)
		l.Tenants = append(l.Tenants, stats.Tenant{ID: id, Connections: connections, Users: connections, Channels: 1})
		l.Channels = append(l.Channels, stats.Channel{Tenant: id, Name: channelName(t, "c"), Connections: connections})
	}
	l.Channels = append(l.Channels, stats.Channel{Name: channelName(t, "public:x"), Connections: 1})
	l.TotalTenants, l.TotalChannels = uint64(len(l.Tenants)), uint64(len(l.Channels))
	n.sink.local = l
}

func startCounting(t *testing.T, edit func(int, *cluster.Options)) []*node {
	t.Helper()
	var nodes []*node
	for i := range 3 {
		n := newNode(fmt.Sprintf("n%d", i+1), func(o *cluster.Options) { edit(i, o) })
		n.give(t, uint64(i+1), "shared", fmt.Sprintf("only%d", i+1))
		if err := n.start(t); err != nil {
			t.Fatalf("start: %v", err)
		}
		nodes = append(nodes, n)
	}
	awaitRoster(t, nodes)
	return nodes
}

// completeStats asks until all nodes answer in time, which a busy one may not.
func completeStats(t *testing.T, n *node, q stats.Query) *stats.Cluster {
	t.Helper()
	var c *stats.Cluster
	eventually(t, "complete stats", func() bool {
		var err error
		if c, err = n.Stats(t.Context(), q, true); err != nil {
			t.Fatalf("stats: %v", err)
		}
		return c.Complete
	})
	return c
}

func TestStats(t *testing.T) {
	srv := startNATS(t, -1)
	nodes := startCounting(t, func(_ int, o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	c := completeStats(t, nodes[1], stats.Query{Limit: 2})
	if len(c.Missing) != 0 || len(c.Nodes) != 3 {
		t.Fatalf("stats %+v", c)
	}
	want := stats.Totals{
		Connections: 6, Users: 6, Tenants: 4, Channels: 5,
		MessagesIn: 3, MessagesOut: 6, BytesIn: 9, BytesOut: 12, Dropped: 15,
	}
	if c.Totals != want {
		t.Errorf("totals %+v, want %+v", c.Totals, want)
	}
	if got := fmt.Sprint(c.Tenants); got != "[{shared 6 6 3} {only3 3 3 1}]" {
		t.Errorf("tenants %s", got)
	}
	if got := fmt.Sprint(c.Channels); got != "[{shared c 6} {only3 c 3}]" {
		t.Errorf("channels %s", got)
	}
	if c.TruncatedTenants != 2 || c.TruncatedChannels != 3 {
		t.Errorf("truncated %d, %d", c.TruncatedTenants, c.TruncatedChannels)
	}
	for i, n := range c.Nodes {
		if n.Name != fmt.Sprintf("n%d", i+1) || n.State != stats.StateReady || n.Version != "test" ||
			n.Totals.Connections != uint64(i+1) || n.StartedAt.Before(c.StartedAt.Truncate(time.Second)) {
			t.Errorf("node %+v", n)
		}
	}
	// Who gets an answer owns it. One is kept for a second, which may be over.
	eventually(t, "an answer within the second", func() bool {
		asked := time.Now()
		c := completeStats(t, nodes[1], stats.Query{Limit: 2})
		c.Tenants[0].Connections = 99
		again, err := nodes[1].Stats(t.Context(), stats.Query{Limit: 2}, false)
		if time.Since(asked) > time.Second {
			return false
		}
		if err != nil || again.Tenants[0].Connections != 6 || !again.AsOf.Equal(c.AsOf) {
			t.Errorf("cached stats %+v, %v", again, err)
		}
		return true
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := nodes[0].Stats(t.Context(), stats.Query{Limit: 5}, false); err != nil {
				t.Errorf("stats: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestStatsNamesLostNodes(t *testing.T) {
	srv := startNATS(t, -1)
	p := startProxy(t, srv.Addr().String())
	const beat = 100 * time.Millisecond
	nodes := startCounting(t, func(i int, o *cluster.Options) {
		o.HeartbeatInterval = beat
		o.NATSURL = srv.ClientURL()
		if i == 2 {
			o.NATSURL = p.url()
		}
	})
	p.freeze()
	ask := func() *stats.Cluster {
		c, err := nodes[0].Stats(t.Context(), stats.Query{Limit: 5}, true)
		if err != nil {
			t.Fatalf("stats: %v", err)
		}
		return c
	}
	began := time.Now()
	if c := ask(); c.Complete || !slices.Contains(c.Missing, "n3") {
		t.Errorf("stats %+v", c)
	}
	// One that is frozen for good would never answer.
	if took := time.Since(began); took > patience/2 {
		t.Errorf("took %s", took)
	}
	eventually(t, "the others' figures", func() bool { // they may be late, once
		c := ask()
		return !c.Complete && fmt.Sprint(c.Missing) == "[n3]" && c.Totals.Connections == 3
	})
	eventually(t, "dead", func() bool {
		c := ask()
		return c.Nodes[2].State == stats.StateDead && fmt.Sprint(c.Missing) == "[n3]" && !c.Complete
	})
	p.thaw()
	awaitRoster(t, nodes)
	// A node that says bye is not missing.
	nodes[1].SetDraining()
	eventually(t, "draining", func() bool { return ask().Nodes[1].State == stats.StateDraining })
	nodes[1].stop(t)
	eventually(t, "gone", func() bool {
		c := ask()
		return c.Complete && len(c.Nodes) == 2
	})
}
