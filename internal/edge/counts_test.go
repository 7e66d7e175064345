package edge_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/stats"
)

// TestTotals follows the figures through the life of some connections.
func TestTotals(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		check := func(when string, connections, users, tenants, channels uint64) {
			t.Helper()
			got := e.hub.Totals()
			want := stats.Totals{Connections: connections, Users: users, Tenants: tenants, Channels: channels}
			if got = (stats.Totals{Connections: got.Connections, Users: got.Users, Tenants: got.Tenants, Channels: got.Channels}); got != want {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		check("empty", 0, 0, 0, 0)
		a1, a2 := e.dial(t, who{user: "ann"}), e.dial(t, who{user: "ann"})
		check("two of a user", 2, 1, 1, 0)
		b := e.dial(t, who{tenant: "beta", user: "ann"})
		check("same user, other tenant", 3, 2, 2, 0)
		n1, n2 := e.dial(t, who{}), e.dial(t, who{})
		check("two anonymous", 5, 2, 2, 0)
		for _, c := range []*client{a1, a2, n1, n2} {
			c.join(room)
		}
		b.join("public:x")
		n1.join("public:x")
		check("joined", 5, 2, 2, 2)
		n1.leave(room)
		check("one left", 5, 2, 2, 2)
		b.hangUp()
		e.awaitConnections(t, 4)
		check("a tenant less", 4, 1, 1, 2)
		n1.hangUp()
		e.awaitConnections(t, 3)
		check("a channel less", 3, 1, 1, 1)
		for _, c := range []*client{a1, a2, n2} {
			c.hangUp()
		}
		e.awaitConnections(t, 0)
		check("all gone", 0, 0, 0, 0)
	})
}

// TestTrafficTotals counts every message and byte of one connection.
func TestTrafficTotals(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		before := e.hub.Totals()
		const ping, message = `{"type":"ping"}`, `{"type":"x","data":"0123456789"}`
		var in, out uint64
		// Control frames are bytes, but no messages.
		if err := c.SendFrame(ws.NewPingFrame([]byte("abc"))); err != nil {
			t.Fatal(err)
		}
		in, out = in+6+3, out+2+3
		for range 10 {
			c.send(ping)
			in += 6 + uint64(len(ping))
			out += 2 + uint64(len(c.expect("pong").Text))
		}
		c.send("nonsense")
		in += 6 + uint64(len("nonsense"))
		out += 2 + uint64(len(c.expect("error").Text))
		for range 7 {
			e.deliver(userTarget("acme", "ann"), message)
			out += 2 + uint64(len(c.expect("x").Text))
		}
		got := e.hub.Totals()
		want := stats.Totals{
			Connections: 1, Users: 1, Tenants: 1,
			MessagesIn: before.MessagesIn + 11, MessagesOut: before.MessagesOut + 7,
			BytesIn: before.BytesIn + in, BytesOut: before.BytesOut + out,
		}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

// TestLocal asks for the lists in every way. Anonymous connections spread over
// the loops, so that every list sums over several.
func TestLocal(t *testing.T) {
	loops := func(o *edge.Options) { o.Loops = 4 }
	onEachDriver(t, loops, func(t *testing.T, e *env) {
		for i := range 6 {
			c := e.dial(t, who{channels: []string{"room"}})
			c.join("tenant:acme:x")
			c.join("public:news")
			if i < 3 {
				c.join("room")
			}
		}
		for i := range 3 {
			c := e.dial(t, who{tenant: "beta", user: fmt.Sprint(i % 2), channels: []string{"room"}})
			c.join("room")
			c.join("public:news")
		}
		e.dial(t, who{tenant: "alpha", user: "1"})
		e.dial(t, who{tenant: "gamma", user: "1"}).join("tenant:gamma:a")

		tenant := func(name string, connections, users, channels uint64) stats.Tenant {
			return stats.Tenant{ID: must(address.ParseTenantID(name)), Connections: connections, Users: users, Channels: channels}
		}
		channel := func(owner, name string, connections uint64) stats.Channel {
			c := stats.Channel{Name: must(address.ParseChannel(name)), Connections: connections}
			if owner != "" {
				c.Tenant = must(address.ParseTenantID(owner))
			}
			return c
		}
		tenants := []stats.Tenant{tenant("acme", 6, 0, 2), tenant("beta", 3, 2, 1), tenant("alpha", 1, 1, 0), tenant("gamma", 1, 1, 1)}
		channels := []stats.Channel{
			channel("", "public:news", 9), channel("acme", "tenant:acme:x", 6),
			channel("acme", "room", 3), channel("beta", "room", 3), channel("gamma", "tenant:gamma:a", 1),
		}
		for _, c := range []struct {
			name, tenant, channel string
			limit                 int
			tenants               []stats.Tenant
			channels              []stats.Channel
			// totals before the limit; 0: as many as there are rows
			totalTenants, totalChannels uint64
		}{
			{name: "all", limit: 100, tenants: tenants, channels: channels},
			{name: "exactly all", limit: 5, tenants: tenants, channels: channels},
			{name: "top 2", limit: 2, tenants: tenants[:2], channels: channels[:2], totalTenants: 4, totalChannels: 5},
			{name: "none", limit: 0, totalTenants: 4, totalChannels: 5},
			{name: "negative limit", limit: -1, totalTenants: 4, totalChannels: 5},
			{name: "tenant", tenant: "acme", limit: 9, tenants: tenants[:1], channels: channels[1:3]},
			{name: "tenant, top 1", tenant: "acme", limit: 1, tenants: tenants[:1], channels: channels[1:2], totalChannels: 2},
			{name: "tenant without channels", tenant: "alpha", limit: 9, tenants: tenants[2:3]},
			{name: "unknown tenant", tenant: "acm", limit: 9},
			{name: "tenant's channel", tenant: "beta", channel: "room", limit: 9, tenants: tenants[1:2], channels: channels[3:4]},
			{
				name: "a channel of a tenant with several", tenant: "acme", channel: "room", limit: 9,
				tenants: tenants[:1], channels: channels[2:3],
			},
			{name: "unknown channel", tenant: "acme", channel: "tenant:acme:y", limit: 9, tenants: tenants[:1]},
			{name: "public", channel: "public:news", limit: 9, tenants: tenants, channels: channels[:1]},
			{name: "public, with a tenant", tenant: "beta", channel: "public:news", limit: 9, tenants: tenants[1:2], channels: channels[:1]},
			{name: "unknown public", channel: "public:new", limit: 9, tenants: tenants},
		} {
			t.Run(c.name, func(t *testing.T) {
				q := stats.Query{Limit: c.limit}
				if c.tenant != "" {
					q.Tenant = must(address.ParseTenantID(c.tenant))
				}
				if c.channel != "" {
					q.Channel = must(address.ParseChannel(c.channel))
				}
				got := e.hub.Local(q)
				if !slices.Equal(got.Tenants, c.tenants) {
					t.Errorf("tenants\ngot  %v\nwant %v", got.Tenants, c.tenants)
				}
				if !slices.Equal(got.Channels, c.channels) {
					t.Errorf("channels\ngot  %v\nwant %v", got.Channels, c.channels)
				}
				if want := max(c.totalTenants, uint64(len(c.tenants))); got.TotalTenants != want {
					t.Errorf("%d tenants in all, want %d", got.TotalTenants, want)
				}
				if want := max(c.totalChannels, uint64(len(c.channels))); got.TotalChannels != want {
					t.Errorf("%d channels in all, want %d", got.TotalChannels, want)
				}
				if got.Totals.Connections != 11 || got.Totals.Tenants != 4 || got.Totals.Users != 4 || got.Totals.Channels != 5 {
					t.Errorf("totals %+v", got.Totals)
				}
			})
		}
	})
}
