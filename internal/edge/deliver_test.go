package edge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

// member is a client of the isolation matrix, and the channels it joined.
type member struct {
	who

	channels []string
}

// receives is the reference: whether m must get what is sent to target. It
// compares names as they were written and knows nothing of the hub.
func (m member) receives(target address.Target) bool {
	switch target.Kind() {
	case address.KindAll:
		return true
	case address.KindTenant:
		return target.Tenant().String() == m.tenant
	case address.KindUser:
		return target.Tenant().String() == m.tenant && m.user != "" && target.User().String() == m.user
	default:
		own := target.Tenant().IsZero() || target.Tenant().String() == m.tenant
		return own && slices.Contains(m.channels, target.Channel().String())
	}
}

// TestIsolation sends to every target that can be made of a set of names that
// look alike: each message reaches the connections of its target, once, and no
// others.
func TestIsolation(t *testing.T) {
	tenants := []string{"1", "10", "public", "tenant", "+public", "1.", "é"}
	users := []string{"", "1", "10", "1:10", "tenant:1", "+u.1", "admin"}
	shared := []string{"public:1", "public:tenant:1", "room", "room:1", "1", "10", "tenant", "public"}
	var members []member
	for _, tenant := range tenants {
		for _, user := range users {
			m := member{who: who{tenant: tenant, user: user, channels: []string{"room", "room:1", "1", "10", "tenant", "public"}}}
			m.channels = append(slices.Clone(shared), "tenant:"+tenant, "tenant:"+tenant+":1", "tenant:"+tenant+":room")
			members = append(members, m)
		}
	}
	targets := []address.Target{address.AllTarget()}
	for _, tenant := range tenants {
		targets = append(targets, tenantTarget(tenant))
		for _, user := range users[1:] {
			targets = append(targets, userTarget(tenant, user))
		}
		for _, channel := range append(slices.Clone(shared), "tenant:"+tenant, "tenant:"+tenant+":1", "tenant:"+tenant+":room") {
			targets = append(targets, channelTarget(tenant, channel))
		}
	}
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		clients := make([]*client, len(members))
		for i, m := range members {
			clients[i] = e.dial(t, m.who)
			for _, channel := range m.channels {
				clients[i].join(channel)
			}
		}
		for i, target := range targets {
			e.deliver(target, fmt.Sprintf(`{"type":"%d"}`, i))
		}
		// What comes last for everybody says that all is there.
		e.deliver(address.AllTarget(), `{"type":"last"}`)
		for i, c := range clients {
			var want, got []string
			for j, target := range targets {
				if members[i].receives(target) {
					want = append(want, fmt.Sprint(j))
				}
			}
			for m := c.next(); m.Type != "last"; m = c.next() {
				got = append(got, m.Type)
			}
			// The order between targets is not promised.
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%+v\ngot  %v\nwant %v", members[i], got, want)
			}
		}
	})
}

// TestOrder: messages for one target come in the order of their Deliver, at
// every member, whatever is delivered to others meanwhile.
func TestOrder(t *testing.T) {
	const targets, each, members = 6, 400, 4
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		clients := make([]*client, members)
		for i := range clients {
			clients[i] = e.dial(t, who{user: fmt.Sprint(i)})
			for j := range targets {
				clients[i].join(fmt.Sprintf("tenant:acme:%d", j))
			}
		}
		var publishing sync.WaitGroup
		for j := range targets {
			target := channelTarget("acme", fmt.Sprintf("tenant:acme:%d", j))
			if j == 0 {
				target = address.AllTarget()
			}
			publishing.Go(func() {
				for n := range each {
					e.deliver(target, fmt.Sprintf(`{"type":"%d","data":{"n":"%d"}}`, j, n))
				}
			})
		}
		for _, c := range clients {
			next := make(map[string]int)
			for range targets * each {
				m := c.next()
				if m.Field("n") != fmt.Sprint(next[m.Type]) {
					t.Fatalf("got %s, want number %d", m.Text, next[m.Type])
				}
				next[m.Type]++
			}
		}
		publishing.Wait()
	})
}

// TestClientMessagesKeepOrder: what one client sends to one channel comes in
// that order, through the bus.
func TestClientMessagesKeepOrder(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		sender, receiver := e.dial(t, who{user: "a"}), e.dial(t, who{user: "b"})
		receiver.join(room)
		for i := range 500 {
			sender.send(request("send_message", fmt.Sprintf(`"channel":%q,"message":%d`, room, i)))
		}
		for i := range 500 {
			want := fmt.Sprintf(`"message":%d,`, i)
			if m := receiver.expect("channel_message"); !strings.Contains(m.Text, want) {
				t.Fatalf("got %s, want %s", m.Text, want)
			}
		}
		sender.quiet()
	})
}

// TestExclude: the connection that is named does not get the message, its
// user's others do; for every kind of target.
func TestExclude(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		out, in := e.dial(t, who{user: "ann"}), e.dial(t, who{user: "ann"})
		out.join(room)
		in.join(room)
		for _, target := range []address.Target{
			address.AllTarget(), tenantTarget("acme"), userTarget("acme", "ann"), channelTarget("acme", room),
		} {
			e.hub.Deliver(&message.Message{
				ID: message.NewID(), Target: target, Exclude: must(message.ParseID(out.ID)), Payload: []byte(`{"type":"x"}`),
			})
			in.expectText(`{"type":"x"}`)
			out.quiet()
		}
		// The id of nobody, and that of a message, exclude nobody.
		id := message.NewID()
		e.hub.Deliver(&message.Message{ID: id, Target: userTarget("acme", "ann"), Exclude: id, Payload: []byte(`{"type":"y"}`)})
		in.expectText(`{"type":"y"}`)
		out.expectText(`{"type":"y"}`)
	})
}

// TestDeadline: what is too old is dropped, and counted.
func TestDeadline(t *testing.T) {
	onEachDriver(t, oneLoop, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		send := func(deadline time.Time, payload string) {
			e.hub.Deliver(&message.Message{
				ID: message.NewID(), Target: tenantTarget("acme"), Deadline: deadline, Payload: []byte(payload),
			})
		}
		send(time.Now().Add(-time.Millisecond), `{"type":"old"}`)
		send(time.Now().Add(time.Hour), `{"type":"new"}`)
		send(time.Now().Add(-time.Hour), `{"type":"old"}`)
		send(time.Time{}, `{"type":"timeless"}`)
		c.expectText(`{"type":"new"}`)
		c.expectText(`{"type":"timeless"}`)
		c.quiet()
		if got := e.metric(t, "pushd_edge_dropped_total", "expired"); got != 2 {
			t.Errorf("counted %g", got)
		}
		if got := e.hub.Totals(); got.Dropped != 2 || got.MessagesOut != 2 {
			t.Errorf("%+v", got)
		}
	})
}

// TestNotificationFilter is the table of who gets which notification.
func TestNotificationFilter(t *testing.T) {
	subscriptions := map[string][]string{
		"never": nil, "none": {}, "a": {"a"}, "a and b": {"a", "b"}, "all": {"all"}, "all and a": {"all", "a"},
	}
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		clients := make(map[string]*client)
		for name, types := range subscriptions {
			c := e.dial(t, who{user: "ann"})
			clients[name] = c
			if types != nil {
				list := ""
				for i, kind := range types {
					if i > 0 {
						list += ","
					}
					list += quote(kind)
				}
				c.send(request("subscribe_notifications", `"types":[`+list+`]`))
				c.expect("notifications_subscribed")
			}
		}
		for _, kind := range []string{"", "a", "b", "c", "all"} {
			e.notify(userTarget("acme", "ann"), kind, `{"type":"notification","data":`+quote(kind)+`}`)
			// Deliveries to one loop keep their order; an answer may overtake them.
			e.deliver(userTarget("acme", "ann"), `{"type":"end"}`)
			for name, c := range clients {
				types := subscriptions[name]
				want := kind == "" || types == nil || slices.Contains(types, kind) || slices.Contains(types, "all")
				if got := c.until("end"); (len(got) == 1) != want {
					t.Errorf("%s: type %q: got %v", name, kind, got)
				}
			}
		}
	})
}

// TestInboxIsBounded: while a loop can't get on, what does not fit in its inbox
// is dropped and counted; what fits comes in order, and nothing blocks.
func TestInboxIsBounded(t *testing.T) {
	const extra = 100
	for name, c := range map[string]struct {
		fit int
		// size is about that of a message's frame, in bytes, and never more.
		size int
	}{
		"messages": {16384, 128},
		"bytes":    {64, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(o *edge.Options) { o.Loops, o.OutboundQueueFrames, o.OutboundQueueBytes = 1, 1<<20, 1<<30 })
			client := e.dial(t, who{user: "ann"})
			resume := e.stopLoop(t, client)
			filler := strings.Repeat("x", c.size-64)
			for i := range c.fit + extra {
				e.deliver(userTarget("acme", "ann"), fmt.Sprintf(`{"type":"%d","data":"%s"}`, i, filler))
			}
			resume()
			client.expectID("channel_joined", "1")
			for i := range c.fit {
				if m := client.next(); m.Type != fmt.Sprint(i) {
					t.Fatalf("got %.50s, want %d", m.Text, i)
				}
			}
			if more := client.fence(); len(more) > 0 {
				t.Errorf("%d more came", len(more))
			}
			if got := e.metric(t, "pushd_edge_dropped_total", "inbox_full"); got != extra {
				t.Errorf("counted %g", got)
			}
			if got := e.hub.Totals().Dropped; got != extra {
				t.Errorf("%d dropped", got)
			}
		})
	}
}

// stopLoop makes the loop of c, which joins a channel, stand still until what
// comes back is called.
func (e *env) stopLoop(t *testing.T, c *client) (resume func()) {
	t.Helper()
	// Acquire is called with the loop's mutex held: while it does not return,
	// the loop can't get on.
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e.bus.set(func(b *fakeBus) {
		b.hold = func(t address.Target) bool {
			if t == channelTarget("acme", room) {
				once.Do(func() { close(entered); <-leave })
			}
			return false
		}
	})
	c.send(joinRoom("1"))
	<-entered
	return func() { close(leave) }
}

// TestBusRefusalsAreFaults: whatever the bus says, the client gets a code of
// the protocol and no text of an error.
func TestBusRefusalsAreFaults(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{})
		e.bus.set(func(b *fakeBus) { b.refuse = errors.New("nats: secret internals") })
		c.send(request("send_message", `"channel":"tenant:acme","message":1`))
		c.expectText(`{"type":"error","data":{"error":"Messaging is not available, try again later","code":"unavailable"}}`)
	})
}
