package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/stats"
	"github.com/aegisx/pushd/test/harness"
)

// freeAddrs returns loopback addresses that were free a moment ago.
func freeAddrs(t *testing.T, count int) []string {
	t.Helper()
	addrs, err := harness.FreeAddrs(t.Context(), count)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// safeBuffer is a log that may be written and read at once.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func debugLog(w *safeBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestMeshWithItselfAmongPeers(t *testing.T) {
	addrs := freeAddrs(t, 3)
	peers := make([]string, len(addrs))
	for i, a := range addrs {
		peers[i] = "nats://" + a
	}
	var log safeBuffer
	var nodes []*node
	for i, a := range addrs {
		nodes = append(nodes, startNode(t, fmt.Sprintf("m%d", i+1), func(o *cluster.Options) {
			o.ListenAddr, o.Peers, o.Secret, o.Logger = a, peers, "very-secret", debugLog(&log)
		}))
	}
	awaitRoster(t, nodes)
	target := channelOf(t, "acme", "c")
	for _, n := range nodes {
		n.acquire(t, target)
	}
	nodes[0].publish(t, target, "once")
	for _, n := range nodes {
		n.sink.awaitPayload(t, "once")
		if got := n.sink.payloads(); len(got) != 1 {
			t.Errorf("%s got %q", n.opts.NodeName, got)
		}
	}
	if strings.Contains(log.String(), "very-secret") {
		t.Error("the secret is in the log")
	}
}

func TestMeshRefusesWrongSecret(t *testing.T) {
	a := startNode(t, "a", func(o *cluster.Options) { o.ListenAddr, o.Secret = "127.0.0.1:0", "right" })
	b := startNode(t, "b", func(o *cluster.Options) {
		o.ListenAddr, o.Secret, o.Peers = "127.0.0.1:0", "wrong", []string{"nats://" + a.ClusterAddr().String()}
	})
	target := channelOf(t, "acme", "c")
	b.acquire(t, target)
	a.publish(t, target, "x")
	if got := b.received(t, target.Kind()); got != 0 {
		t.Error("a stranger received a message")
	}
	c, err := a.Stats(t.Context(), stats.Query{Limit: 1}, true)
	if err != nil || len(c.Nodes) != 1 {
		t.Errorf("stats %+v, %v", c, err)
	}
}

func TestSecondNodeOfOneNameIsRefused(t *testing.T) {
	srv := startNATS(t, -1)
	for _, top := range []struct {
		name  string
		first func(*cluster.Options)
	}{
		{"external", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() }},
		{"mesh", func(o *cluster.Options) { o.ListenAddr = "127.0.0.1:0" }},
	} {
		t.Run(top.name, func(t *testing.T) {
			var log safeBuffer
			first := startNode(t, "twin", func(o *cluster.Options) { top.first(o); o.Logger = debugLog(&log) })
			// The first must answer within some time: on a busy machine it may be late.
			eventually(t, "refusal", func() bool {
				second := newNode("twin", func(o *cluster.Options) {
					top.first(o)
					o.Logger = debugLog(&log)
					if addr := first.ClusterAddr(); addr != nil {
						o.Peers = []string{"nats://" + addr.String()}
					}
				})
				err := second.start(t)
				if err == nil {
					second.stop(t)
					return false
				}
				if !errors.Is(err, cluster.ErrNameTaken) {
					t.Fatalf("second node: %v\n%s", err, log.String())
				}
				return true
			})
			first.stop(t)
			if top.name == "external" {
				startNode(t, "twin", top.first)
			}
		})
	}
}

func TestAddressInUseIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer func() { _ = ln.Close() }()
	n := newNode("n1", func(o *cluster.Options) { o.ListenAddr = ln.Addr().String() })
	if err := n.start(t); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v", err)
	}
}
