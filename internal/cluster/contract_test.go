package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

func TestDeliversOnceToHoldersOnly(t *testing.T) {
	onEach(t, func(t *testing.T, nodes []*node) {
		targets := []address.Target{
			userOf(t, "acme", "ann"),
			channelOf(t, "acme", "room:1"),
			channelOf(t, "acme", "public:news"),
			tenantOf(t, "acme"),
			address.AllTarget(),
		}
		holders, last := nodes, nodes[len(nodes)-1]
		if len(nodes) > 1 {
			holders = nodes[:len(nodes)-1]
		}
		for _, target := range targets {
			for _, n := range holders {
				n.acquire(t, target)
			}
		}
		for i, target := range targets {
			for _, n := range nodes {
				n.publish(t, target, fmt.Sprintf("%d from %s", i, n.opts.NodeName))
			}
		}
		want := len(targets) * len(nodes)
		for _, n := range holders {
			n.sink.await(t, "all", func(got []*message.Message) bool { return len(got) >= want })
			payloads := n.sink.payloads()
			slices.Sort(payloads)
			if all := len(payloads); len(slices.Compact(payloads)) != want || all != want {
				t.Errorf("%s got %d messages, want %d, each once", n.opts.NodeName, all, want)
			}
		}
		if len(nodes) == 1 {
			return
		}
		// A message that must come proves that the others did not.
		last.acquire(t, userOf(t, "acme", "zoe"))
		nodes[0].publish(t, userOf(t, "acme", "zoe"), "fence")
		last.sink.awaitPayload(t, "fence")
		for _, target := range targets[1:] {
			if c := last.received(t, target.Kind()); c != 0 {
				t.Errorf("a node without members received %v copies of kind %s", c, target.Kind())
			}
		}
		if c := last.received(t, address.KindUser); c != 1 {
			t.Errorf("received %v user messages, want 1", c)
		}
	})
}

func TestKeepsOrderPerTarget(t *testing.T) {
	const publishers, each = 8, 150
	onEach(t, func(t *testing.T, nodes []*node) {
		for p := range publishers {
			nodes[p%len(nodes)].acquire(t, channelOf(t, "acme", fmt.Sprintf("c%d", p)))
		}
		var wg sync.WaitGroup
		for p := range publishers {
			from := nodes[(p+1)%len(nodes)]
			target := channelOf(t, "acme", fmt.Sprintf("c%d", p))
			wg.Go(func() {
				for i := range each {
					m := msg(target, fmt.Sprintf("%d/%d", p, i))
					var err error
					if i%3 == 0 {
						_, err = from.Publish(t.Context(), m)
					} else {
						err = from.Enqueue(m)
					}
					if err != nil {
						t.Errorf("publish: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		for p := range publishers {
			s := nodes[p%len(nodes)].sink
			prefix := fmt.Sprintf("%d/", p)
			mine := func() (out []string) {
				for _, payload := range s.payloads() {
					if strings.HasPrefix(payload, prefix) {
						out = append(out, payload)
					}
				}
				return out
			}
			s.awaitPayload(t, fmt.Sprintf("%d/%d", p, each-1))
			got := mine()
			for i := range each {
				if i >= len(got) || got[i] != fmt.Sprintf("%d/%d", p, i) {
					t.Fatalf("publisher %d: message %d is wrong in %q", p, i, got)
				}
			}
		}
	})
}

// TestReadyMeansLive publishes from another node at once after ready.
func TestReadyMeansLive(t *testing.T) {
	const loops = 300
	onEach(t, func(t *testing.T, nodes []*node) {
		holder, other := nodes[0], nodes[len(nodes)-1]
		for i := range loops {
			target := channelOf(t, "acme", fmt.Sprintf("fresh:%d", i))
			holder.acquire(t, target)
			other.publish(t, target, fmt.Sprintf("fresh %d", i))
			holder.sink.awaitPayload(t, fmt.Sprintf("fresh %d", i))
			holder.Release(target)
		}
	})
}

func TestCarriesEveryField(t *testing.T) {
	onEach(t, func(t *testing.T, nodes []*node) {
		target := userOf(t, "tenänt", "a.b*>:c")
		nodes[0].acquire(t, target)
		sent := &message.Message{
			ID: message.NewID(), Target: target, NotificationType: "order", Exclude: message.NewID(),
			AcceptedAt: time.UnixMilli(time.Now().UnixMilli()), Deadline: time.UnixMilli(time.Now().Add(time.Minute).UnixMilli()),
			ReportTo: "pd1.r.n1.7", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			Payload: []byte(`{"type":"notification"}`),
		}
		if _, err := nodes[len(nodes)-1].Publish(t.Context(), sent); err != nil {
			t.Fatalf("publish: %v", err)
		}
		nodes[0].sink.await(t, "message", func(got []*message.Message) bool { return len(got) == 1 })
		got := nodes[0].sink.got[0]
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *sent) {
			t.Errorf("got  %+v\nwant %+v", *got, *sent)
		}
	})
}

func TestRefusesWhatCannotBeSent(t *testing.T) {
	n := startNode(t, "n1", nil)
	target := channelOf(t, "acme", "c")
	if _, err := n.Publish(t.Context(), msg(target, strings.Repeat("x", n.opts.MaxPayload+1))); !errors.Is(err, message.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := n.Publish(t.Context(), msg(address.Target{}, "x")); err == nil {
		t.Error("no target: no error")
	}
	n.acquire(t, target)
	n.publish(t, target, strings.Repeat("x", n.opts.MaxPayload))
	n.sink.await(t, "the largest message", func(got []*message.Message) bool { return len(got) == 1 })
	if err := n.tryAcquire(t, address.Target{}); err == nil {
		t.Error("acquire without target: no error")
	}
}

func TestExpiredIsDropped(t *testing.T) {
	n := startNode(t, "n1", nil)
	target := channelOf(t, "acme", "c")
	n.acquire(t, target)
	late := msg(target, "late")
	late.Deadline = time.Now().Add(-time.Second)
	if _, err := n.Publish(t.Context(), late); err == nil {
		t.Error("a message past its deadline was taken")
	}
	n.publish(t, target, "in time")
	n.sink.awaitPayload(t, "in time")
	n.sink.noneOf(t, "late")
	if c := n.dropped(t, "expired"); c != 1 {
		t.Errorf("expired %v, want 1", c)
	}
}

func TestFullLaneDropsAndCounts(t *testing.T) {
	n := newNode("n1", nil)
	n.opts.Lanes, n.opts.LaneDepth = 1, 4
	n.sink.block = make(chan struct{})
	if err := n.start(t); err != nil {
		t.Fatalf("start: %v", err)
	}
	target := channelOf(t, "acme", "c")
	n.acquire(t, target)
	for i := range 20 {
		n.publish(t, target, fmt.Sprint(i))
	}
	// One is with the sink, four wait.
	eventually(t, "drops", func() bool { return n.dropped(t, "lane_full") == 15 })
	close(n.sink.block)
	n.sink.await(t, "what was kept", func(got []*message.Message) bool { return len(got) == 5 })
}
