package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

func TestNATSAwayAndBack(t *testing.T) {
	srv := startNATS(t, -1)
	port := portOf(t, srv)
	nodes := startExternal(t, srv, 2)
	a, b := nodes[0], nodes[1]
	target := channelOf(t, "acme", "c")
	a.acquire(t, target)
	b.publish(t, target, "before")
	a.sink.awaitPayload(t, "before")

	stopNATS(srv)
	eventually(t, "not ready", func() bool { return !a.Ready() && !b.Ready() })
	began := time.Now()
	if _, err := b.Publish(t.Context(), msg(target, "away")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("publish while away: %v", err)
	}
	if err := b.Enqueue(msg(target, "away")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("enqueue while away: %v", err)
	}
	// The reference of a failed acquire counts, and goes live later.
	later := channelOf(t, "acme", "later")
	if err := a.tryAcquire(t, later); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("acquire while away: %v", err)
	}
	if err := a.tryAcquire(t, target); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("second acquire while away: %v", err)
	}
	// It is known that NATS is away: nobody waits for it.
	if took := time.Since(began); took >= calm {
		t.Errorf("failing took %s", took)
	}
	c, err := a.Stats(t.Context(), stats.Query{Limit: 5}, true)
	if err != nil || c.Complete || len(c.Missing) != 1 || c.Missing[0] != "n2" {
		t.Errorf("stats while away: %+v, %v", c, err)
	}

	startNATS(t, port)
	eventually(t, "ready again", func() bool { return a.Ready() && b.Ready() })
	b.publish(t, target, "after")
	b.publish(t, later, "after, too")
	a.sink.awaitPayload(t, "after")
	a.sink.awaitPayload(t, "after, too")
	a.sink.noneOf(t, "away")
	awaitRoster(t, nodes)
	if c := a.count(t, "pushd_cluster_reconnects_total", ""); c != 1 {
		t.Errorf("%v reconnects, want 1", c)
	}
}

func TestNATSFrozen(t *testing.T) {
	srv := startNATS(t, -1)
	p := startProxy(t, srv.Addr().String())
	a := startNode(t, "a", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	b := startNode(t, "b", func(o *cluster.Options) { o.NATSURL, o.PublishTimeout = p.url(), 2*time.Second })
	target := channelOf(t, "acme", "c")
	a.acquire(t, target)

	p.freeze()
	var wg sync.WaitGroup
	began := time.Now()
	wg.Go(func() {
		stuck := msg(target, "stuck")
		stuck.Deadline = time.Now().Add(500 * time.Millisecond)
		if _, err := b.Publish(t.Context(), stuck); !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("publish: %v", err)
		}
	})
	wg.Go(func() {
		if err := b.tryAcquire(t, target); !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("acquire: %v", err)
		}
	})
	wg.Wait()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("failing took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Publish(ctx, msg(target, "given up")); err == nil {
		t.Error("publish came back without an error")
	}

	p.thaw()
	eventually(t, "deliveries", func() bool {
		_, err := b.Publish(t.Context(), msg(target, "after"))
		return err == nil
	})
	a.sink.awaitPayload(t, "after")
	a.sink.noneOf(t, "stuck")
	if a.dropped(t, "expired")+b.dropped(t, "expired") < 1 {
		t.Error("what was stuck was not counted")
	}
}

func TestStartRefusesUnreachableNATS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer func() { _ = ln.Close() }() // Nobody speaks there.
	for name, addr := range map[string]string{"silent": ln.Addr().String(), "refused": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			began := time.Now()
			n := newNode("n1", func(o *cluster.Options) {
				o.NATSURL = "nats://ann:sesame@" + addr
				o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			err := n.start(t)
			if err == nil || !strings.Contains(err.Error(), addr) {
				t.Errorf("error %v, want one that names %s", err, addr)
			}
			if err != nil && strings.Contains(err.Error(), "sesame") || strings.Contains(logged.String(), "sesame") {
				t.Error("credentials are in the error or the log")
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestCloseUnderLoad(t *testing.T) {
	n := startNode(t, "n1", nil)
	target := channelOf(t, "acme", "c")
	n.acquire(t, target)
	accepted := 0
	for range 500 {
		if err := n.Enqueue(msg(target, "x")); err == nil {
			accepted++
		}
	}
	if err := n.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if got := len(n.sink.payloads()); got != accepted {
		t.Errorf("delivered %d of %d accepted", got, accepted)
	}
	if err := n.Enqueue(msg(target, "late")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("enqueue after close: %v", err)
	}
	if _, err := n.Publish(t.Context(), msg(target, "late")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("publish after close: %v", err)
	}
	if n.Ready() || n.Acquire(target, func(error) { t.Error("ready was called") }) {
		t.Error("closed router is ready")
	}
	n.Release(target)
	if err := n.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCloseWithFrozenNATSIsBounded(t *testing.T) {
	srv := startNATS(t, -1)
	p := startProxy(t, srv.Addr().String())
	n := startNode(t, "n1", func(o *cluster.Options) { o.NATSURL = p.url() })
	p.freeze()
	for range 100 {
		_ = n.Enqueue(msg(channelOf(t, "acme", "c"), "x"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := n.Close(ctx); err == nil {
		t.Error("no error though nothing was flushed")
	}
	if took := time.Since(began); took >= calm {
		t.Errorf("close took %s", took)
	}
}

func TestSmallerNATSLowersTheLimit(t *testing.T) {
	const natsMax = 256 << 10
	srv := startNATSWith(t, &server.Options{Port: -1, MaxPayload: natsMax})
	n := startNode(t, "n1", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	target := channelOf(t, "acme", "c")
	n.acquire(t, target)
	const fits = natsMax - 64<<10
	n.publish(t, target, strings.Repeat("x", fits))
	n.sink.await(t, "the largest message", func(got []*message.Message) bool { return len(got) == 1 })
	for name, publish := range map[string]func(*message.Message) error{
		"Publish": func(m *message.Message) error {
			_, err := n.Publish(t.Context(), m)
			return err
		},
		"Enqueue": n.Enqueue,
	} {
		if err := publish(msg(target, strings.Repeat("x", fits+1))); !errors.Is(err, message.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTinyNATSIsRefused(t *testing.T) {
	srv := startNATSWith(t, &server.Options{Port: -1, MaxPayload: 1 << 10})
	n := newNode("n1", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	if err := n.start(t); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("got %v", err)
	}
}
