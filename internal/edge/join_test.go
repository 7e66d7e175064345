package edge_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

const room = "tenant:acme:room"

func joinRoom(id string) string {
	return `{"type":"join_channel","id":"` + id + `","data":{"channel":"` + room + `"}}`
}

func leaveRoom(id string) string {
	return `{"type":"leave_channel","id":"` + id + `","data":{"channel":"` + room + `"}}`
}

// expectID wants the answer to the request with this id.
func (c *client) expectID(kind, id string) {
	c.t.Helper()
	if m := c.expect(kind); m.ID != id {
		c.t.Fatalf("got %s, want id %s", m.Text, id)
	}
}

// TestJoinWaitsForInterest: channel_joined comes once the messages reach this
// node, not before; other requests don't wait. What is delivered before it does
// not reach the client, what is delivered after it does.
func TestJoinWaitsForInterest(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		target := channelTarget("acme", room)
		c := e.dial(t, who{})
		e.bus.holdBack(address.KindChannel)
		c.send(joinRoom("1"))
		e.bus.awaitHeld(t, 1)
		c.quiet()
		e.deliver(target, `{"type":"early"}`)
		c.quiet()
		e.bus.settle(nil)
		c.expectID("channel_joined", "1")
		e.deliver(target, `{"type":"late"}`)
		c.expectText(`{"type":"late"}`)
		if n := e.bus.count(target); n != 1 {
			t.Errorf("%d references", n)
		}
	})
}

// TestPendingRequests: whatever is asked while a join waits, the answers and
// the outcome are those of the requests in their order.
func TestPendingRequests(t *testing.T) {
	join, leave := joinRoom, leaveRoom
	subscribe := func(id string) string {
		return `{"type":"subscribe_notifications","id":"` + id + `","data":{"types":["x"]}}`
	}
	for _, c := range []struct {
		name     string
		requests []func(string) string
		// live is how many requests are sent before the target is live without
		// its callbacks having run.
		live int
		want []string // types, in the order of their requests
		// member says how it ends.
		member bool
	}{
		{"join", []func(string) string{join}, 1, []string{"channel_joined"}, true},
		{"join twice", []func(string) string{join, join}, 2, []string{"channel_joined", "channel_joined"}, true},
		{"leave", []func(string) string{join, leave}, 2, []string{"channel_joined", "channel_left"}, false},
		{"leave twice", []func(string) string{join, leave, leave}, 3, []string{"channel_joined", "channel_left", "channel_left"}, false},
		{
			"join again", []func(string) string{join, leave, join}, 3,
			[]string{"channel_joined", "channel_left", "channel_joined"}, true,
		},
		{
			"join again, live by then", []func(string) string{join, leave, join}, 2,
			[]string{"channel_joined", "channel_left", "channel_joined"}, true,
		},
		{
			"back and forth", []func(string) string{join, leave, join, leave, join, join, leave}, 7,
			[]string{
				"channel_joined", "channel_left", "channel_joined", "channel_left", "channel_joined", "channel_joined", "channel_left",
			}, false,
		},
		{
			"back and forth, live by then", []func(string) string{join, leave, join, leave, join, leave, join}, 3,
			[]string{
				"channel_joined", "channel_left", "channel_joined", "channel_left", "channel_joined", "channel_left", "channel_joined",
			}, true,
		},
		{
			"a subscription among them", []func(string) string{join, subscribe, leave, join}, 4,
			[]string{"channel_joined", "notifications_subscribed", "channel_left", "channel_joined"}, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				client := e.dial(t, who{user: "ann"})
				e.bus.holdBack(address.KindChannel)
				for i, request := range c.requests {
					if i == c.live {
						client.quiet()
						e.bus.live()
					}
					client.send(request(fmt.Sprint(i)))
				}
				got := make([]string, len(c.want))
				note := func(kind, id string) {
					for i := range got {
						if id == fmt.Sprint(i) {
							got[i] = kind
						}
					}
				}
				e.bus.awaitHeld(t, 1)
				client.send(`{"type":"ping","id":"now"}`)
				for m := client.next(); m.ID != "now"; m = client.next() {
					note(m.Type, m.ID)
				}
				e.bus.settle(nil)
				eventually(t, func() error {
					client.send(`{"type":"ping","id":"then"}`)
					for m := client.next(); m.ID != "then"; m = client.next() {
						note(m.Type, m.ID)
					}
					for i := range got {
						if got[i] == "" {
							return fmt.Errorf("request %d has no answer", i)
						}
					}
					return nil
				})
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("answers %v, want %v", got, c.want)
				}
				e.deliver(channelTarget("acme", room), `{"type":"x"}`)
				if c.member {
					client.expectText(`{"type":"x"}`)
				}
				client.quiet()
				want := 0
				if c.member {
					want = 1
				}
				if n := e.bus.count(channelTarget("acme", room)); n != want {
					t.Errorf("%d references, want %d", n, want)
				}
			})
		})
	}
}

// TestJoinFails: the client hears of it, holds nothing, and may try again. A
// leave that waited for the join is answered all the same.
func TestJoinFails(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		target := channelTarget("acme", room)
		c := e.dial(t, who{})
		e.bus.holdBack(address.KindChannel)
		c.send(joinRoom("1"))
		c.send(leaveRoom("2"))
		e.bus.awaitHeld(t, 1)
		c.quiet()
		e.bus.settle(errors.New("no route"))
		c.expectText(`{"type":"error","id":"1","data":{"error":"Messaging is not available, try again later","code":"unavailable"}}`)
		c.expectID("channel_left", "2")
		if n := e.bus.count(target); n != 0 {
			t.Errorf("%d references", n)
		}
		e.deliver(target, `{"type":"x"}`)
		c.quiet()
		c.join(room)
	})
}

// TestSubscriptionFails: none of its channels is joined, and no notification is
// held back that came before.
func TestSubscriptionFails(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		e.bus.set(func(b *fakeBus) {
			b.hold = func(t address.Target) bool { return t == channelTarget("acme", "notifications:acme:ann:b") }
		})
		c.send(request("subscribe_notifications", `"types":["a","b"]`))
		e.bus.awaitHeld(t, 1)
		c.quiet()
		e.bus.settle(errors.New("no route"))
		c.expectError("unavailable")
		for _, kind := range []string{"a", "b"} {
			target := channelTarget("acme", "notifications:acme:ann:"+kind)
			if n := e.bus.count(target); n != 0 {
				t.Errorf("%d references to %s", n, kind)
			}
			e.deliver(target, `{"type":"x"}`)
		}
		e.notify(userTarget("acme", "ann"), "other", `{"type":"notification","data":1}`)
		c.expectText(`{"type":"notification","data":1}`)
		c.quiet()
	})
}

// TestGoneWhileJoining: whoever goes before the answer leaves no reference,
// whatever the answer is.
func TestGoneWhileJoining(t *testing.T) {
	for name, answer := range map[string]error{"live": nil, "failed": errors.New("no route")} {
		t.Run(name, func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				c := e.dial(t, who{user: "ann"})
				e.bus.holdBack(address.KindChannel)
				c.send(joinRoom("1"))
				c.send(leaveRoom("2"))
				c.send(joinRoom("3"))
				c.send(request("subscribe_notifications", `"types":["a","b"]`))
				e.bus.awaitHeld(t, 3)
				c.hangUp()
				e.awaitConnections(t, 0)
				// The place of the one that went is taken by another.
				next := e.dial(t, who{user: "ann"})
				e.bus.settle(answer)
				if n := e.bus.count(channelTarget("acme", room)); n != 0 {
					t.Errorf("%d references", n)
				}
				e.deliver(channelTarget("acme", room), `{"type":"x"}`)
				next.quiet()
			})
		})
	}
}

// TestConnectionWaitsForInterest: the first message comes once messages for the
// tenant, the user and everybody reach this node. Until then nothing is read or
// delivered.
func TestConnectionWaitsForInterest(t *testing.T) {
	for _, kind := range []address.Kind{address.KindAll, address.KindTenant, address.KindUser} {
		t.Run(kind.String(), func(t *testing.T) {
			onEachDriver(t, oneLoop, func(t *testing.T, e *env) {
				witness := e.dial(t, who{user: "bob"})
				e.bus.holdBack(kind)
				c := e.upgrade(t, "/ws", token(t, who{user: "ann"}))
				c.send(joinRoom("1"))
				e.bus.awaitHeld(t, 1)
				e.deliver(address.AllTarget(), `{"type":"early"}`)
				e.deliver(tenantTarget("acme"), `{"type":"early"}`)
				e.deliver(userTarget("acme", "ann"), `{"type":"early"}`)
				e.deliver(userTarget("acme", "bob"), `{"type":"last"}`)
				for witness.next().Type != "last" {
				}
				if totals := e.hub.Totals(); totals.MessagesIn != 0 || totals.Connections != 2 {
					t.Errorf("%+v", totals)
				}
				e.bus.settle(nil)
				c.expect("connection")
				c.expectID("channel_joined", "1")
				e.deliver(address.AllTarget(), `{"type":"a"}`)
				c.expectText(`{"type":"a"}`)
				e.deliver(tenantTarget("acme"), `{"type":"t"}`)
				c.expectText(`{"type":"t"}`)
				e.deliver(userTarget("acme", "ann"), `{"type":"u"}`)
				c.expectText(`{"type":"u"}`)
			})
		})
	}
}

func oneLoop(o *edge.Options) { o.Loops = 1 }

// TestGoneWhileConnecting: whoever goes before it is connected leaves nothing.
func TestGoneWhileConnecting(t *testing.T) {
	for name, answer := range map[string]error{"live": nil, "failed": errors.New("no route")} {
		t.Run(name, func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				e.bus.holdBack(address.KindAll, address.KindTenant, address.KindUser)
				c := e.upgrade(t, "/ws", token(t, who{user: "ann"}))
				e.bus.awaitHeld(t, 3)
				c.hangUp()
				e.bus.settle(answer)
				e.awaitConnections(t, 0)
			})
		})
	}
}

// TestPipelined: what a client sends right behind its upgrade is not lost.
func TestPipelined(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		got := rawSession(t, e, token(t, who{}), joinRoom("1"), `{"type":"ping","id":"2"}`)
		want := []string{"connection", "channel_joined", "pong"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestConnectionsOfAUser: the limit counts per tenant and user, anonymous
// connections have none, and a place is free again at once.
func TestConnectionsOfAUser(t *testing.T) {
	limit := func(o *edge.Options) { o.MaxConnectionsPerUser = 1 }
	onEachDriver(t, limit, func(t *testing.T, e *env) {
		first := e.dial(t, who{user: "ann"})
		e.dial(t, who{tenant: "acme2", user: "ann"})
		e.dial(t, who{user: "ann:x"})
		e.dial(t, who{})
		e.dial(t, who{})
		e.upgrade(t, "/ws", token(t, who{user: "ann"})).expectClose(4303)
		if got := e.metric(t, "pushd_edge_refused_total", "user_limit"); got != 1 {
			t.Errorf("counted %g", got)
		}
		// The one that is there stays.
		first.quiet()
		first.hangUp()
		e.awaitConnections(t, 4)
		e.dial(t, who{user: "ann"})
	})
}
