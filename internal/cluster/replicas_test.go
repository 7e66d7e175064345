package cluster_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/test/harness"
)

// startReplicas starts three servers that hold everything together.
func startReplicas(t *testing.T) []*server.Server {
	t.Helper()
	port, err := harness.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var servers []*server.Server
	for n := range 3 {
		o := &server.Options{
			ServerName: fmt.Sprintf("s%d", n), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: 2 << 20,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1},
			Routes:  []*url.URL{{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)}},
		}
		if n == 0 {
			o.Cluster.Port = port
		}
		srv, err := server.NewServer(o)
		if err != nil {
			t.Fatalf("nats server: %v", err)
		}
		srv.Start()
		t.Cleanup(func() { stopNATS(srv) })
		servers = append(servers, srv)
	}
	for _, srv := range servers {
		// None is ready before all know each other.
		if !srv.ReadyForConnections(patience) {
			t.Fatal("nats server is not ready")
		}
	}
	eventually(t, "a leader of all", func() bool {
		for _, srv := range servers {
			if srv.JetStreamIsLeader() {
				return true
			}
		}
		return false
	})
	return servers
}

// TestReplicas: what was acknowledged is read at once, though most servers answer
// that may be behind; when the leader goes, the others go on in the same epoch.
func TestReplicas(t *testing.T) {
	servers := startReplicas(t)
	rules := storing(t, func(h *cluster.HistoryOptions) { h.Replicas = 3 })
	var urls []string
	for _, srv := range servers {
		urls = append(urls, srv.ClientURL())
	}
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.NATSURL, o.PublishTimeout = strings.Join(urls, ","), brisk
	})
	target := channelOf(t, "acme", "log:1")
	n.acquire(t, target)
	eventually(t, "stored", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "first"))
		return err == nil
	})
	var many []address.Target
	for i := range 10 {
		many = append(many, channelOf(t, "acme", fmt.Sprintf("log:many:%d", i)))
	}
	last := uint64(0)
	for i := range 200 {
		at := n.store(t, target, fmt.Sprint(i))
		if i == 0 {
			last = at - 1
		}
		p := n.read(t, target, last, 10)
		if got := payloadsOf(p); fmt.Sprint(got) != fmt.Sprintf("[%d]", i) {
			t.Fatalf("message %d: read %q", i, got)
		}
		p, err := n.Read(t.Context(), target, history.Query{Limit: 1, Bytes: 100, Reverse: true})
		if err != nil || fmt.Sprint(payloadsOf(p)) != fmt.Sprintf("[%d]", i) {
			t.Fatalf("message %d: the newest is %q, %v", i, payloadsOf(p), err)
		}
		one := many[i%len(many)]
		other := n.store(t, one, "x")
		if _, got := n.last(t, many...); got[i%len(many)] != other {
			t.Fatalf("message %d: last is %d, want %d", i, got[i%len(many)], other)
		}
		last = at
	}
	before, _ := n.last(t, target)
	doubted := n.sink.doubted(address.Target{})
	info, err := streamOf(t, servers[0], "PD1H").Info(t.Context())
	if err != nil {
		t.Fatalf("info: %v", err)
	}
	for _, srv := range servers {
		if srv.Name() == info.Cluster.Leader {
			stopNATS(srv)
		}
	}
	// While there is no leader, one may be stored of which no answer comes: with a
	// key it is safe to try again.
	eventually(t, "stored again", func() bool {
		_, err := n.Publish(t.Context(), keyed(target, "moved", "k"))
		if err != nil && !errors.Is(err, message.ErrUnavailable) {
			t.Fatalf("publish: %v", err)
		}
		return err == nil
	})
	eventually(t, "doubt", func() bool { return n.sink.doubted(address.Target{}) > doubted })
	p := n.read(t, target, last, 10)
	if fmt.Sprint(payloadsOf(p)) != "[moved]" || p.Gap != "" || p.Epoch != before {
		t.Errorf("read %q, gap %q, epoch %q, was %q", payloadsOf(p), p.Gap, p.Epoch, before)
	}
}

// TestKeysOfManyAtOnce: of many that come at once with one key, one is sent.
func TestKeysOfManyAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, nodes []*node) {
		for _, target := range []address.Target{channelOf(t, "acme", "log:1"), tenantOf(t, "acme")} {
			var wg sync.WaitGroup
			var mu sync.Mutex
			fresh, ids := 0, make(map[message.ID]bool)
			for i := range 64 {
				wg.Go(func() {
					a, err := nodes[i%len(nodes)].Publish(t.Context(), keyed(target, "same", "k"+target.Kind().String()))
					if err != nil {
						t.Errorf("publish: %v", err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if ids[a.ID] = true; !a.Duplicate {
						fresh++
					}
				})
			}
			wg.Wait()
			if fresh != 1 || len(ids) != 1 {
				t.Errorf("%d were sent, %d ids", fresh, len(ids))
			}
		}
	})
}
