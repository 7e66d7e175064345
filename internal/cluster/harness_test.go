package cluster_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
	"github.com/aegisx/pushd/test/harness"
	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

const (
	// patience is how long a test waits for what must happen.
	patience = time.Minute
	// calm is the time for publishing of the nodes: no answer of theirs may be late
	// because the machine is busy. brisk is that of those that lose answers, and
	// wait so long for them.
	calm, brisk = 20 * time.Second, 4 * time.Second
)

// sink records what is delivered.
type sink struct {
	mu    sync.Mutex
	got   []*message.Message
	more  chan struct{} // closed and replaced with each delivery
	local stats.Local
	// doubts holds what Doubt was called for.
	doubts []address.Target
	// edge, unless nil, is told of each delivery first.
	edge  func(*message.Message)
	block chan struct{} // non-nil: Deliver waits until it is closed
}

func newSink() *sink { return &sink{more: make(chan struct{})} }

func (s *sink) Deliver(m *message.Message) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	edge := s.edge
	s.mu.Unlock()
	if edge != nil {
		edge(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, m)
	close(s.more)
	s.more = make(chan struct{})
}

func (s *sink) Totals() stats.Totals { return s.local.Totals }

func (s *sink) Doubt(t address.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts = append(s.doubts, t)
}

// doubted counts how often t was doubted.
func (s *sink) doubted(t address.Target) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, d := range s.doubts {
		if d == t {
			n++
		}
	}
	return n
}

func (s *sink) Local(stats.Query) stats.Local { return s.local }

func (s *sink) payloads() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, len(s.got))
	for n, m := range s.got {
		out[n] = string(m.Payload)
	}
	return out
}

// await waits until cond holds for what has been delivered.
func (s *sink) await(t *testing.T, what string, cond func(got []*message.Message) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		ok, more := cond(s.got), s.more
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("%s did not come; got %q", what, s.payloads())
		}
	}
}

// awaitPayload waits for a message with this payload.
func (s *sink) awaitPayload(t *testing.T, payload string) {
	t.Helper()
	s.await(t, payload, func(got []*message.Message) bool {
		for _, m := range got {
			if string(m.Payload) == payload {
				return true
			}
		}
		return false
	})
}

// node is one router with all that belongs to it.
type node struct {
	*cluster.Router
	sink *sink
	reg  *prometheus.Registry
	opts cluster.Options
}

func startNode(t *testing.T, name string, edit func(*cluster.Options)) *node {
	t.Helper()
	n := newNode(name, edit)
	if err := n.start(t); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	return n
}

func newNode(name string, edit func(*cluster.Options)) *node {
	n := &node{sink: newSink(), reg: prometheus.NewRegistry(), opts: cluster.DefaultOptions()}
	n.opts.NodeName = name
	n.opts.Version = "test"
	n.opts.Registerer = n.reg
	n.opts.PublishTimeout = calm
	if edit != nil {
		edit(&n.opts)
	}
	return n
}

func (n *node) start(t *testing.T) error {
	t.Helper()
	r, err := cluster.Start(t.Context(), n.opts, n.sink)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	n.Router = r
	t.Cleanup(func() { n.stop(t) })
	return nil
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Logf("close %s: %v", n.opts.NodeName, err)
	}
}

// acquire returns when interest in target is live.
func (n *node) acquire(t *testing.T, target address.Target) {
	t.Helper()
	if err := n.tryAcquire(t, target); err != nil {
		t.Fatalf("acquire: %v", err)
	}
}

func (n *node) tryAcquire(t *testing.T, target address.Target) error {
	t.Helper()
	ready := make(chan error, 2)
	if n.Acquire(target, func(err error) { ready <- err }) {
		return nil
	}
	select {
	case err := <-ready:
		return err
	case <-time.After(patience):
		t.Fatal("ready was not called")
		return nil
	}
}

func (n *node) publish(t *testing.T, target address.Target, payload string) {
	t.Helper()
	if _, err := n.Publish(t.Context(), msg(target, payload)); err != nil {
		t.Fatalf("publish %s: %v", payload, err)
	}
}

// count returns the value of a metric, summed over its series or of one label.
func (n *node) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == label {
					sum += m.GetCounter().GetValue()
				}
			}
			if label == "" {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (n *node) received(t *testing.T, kind address.Kind) float64 {
	t.Helper()
	return n.count(t, "pushd_cluster_received_total", kind.String())
}

func (n *node) dropped(t *testing.T, reason string) float64 {
	t.Helper()
	return n.count(t, "pushd_cluster_dropped_total", reason)
}

func msg(target address.Target, payload string) *message.Message {
	return &message.Message{ID: message.NewID(), Target: target, AcceptedAt: time.Now(), Payload: []byte(payload)}
}

// eventually polls for what no event tells.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for !cond() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// topology starts nodes that form one cluster.
type topology struct {
	name  string
	most  int // nodes
	start func(t *testing.T, count int) []*node
}

func topologies() []topology {
	return []topology{
		{"lone", 1, func(t *testing.T, _ int) []*node { return []*node{startNode(t, "n1", nil)} }},
		{"mesh", 3, startMesh},
		{"external", 3, func(t *testing.T, count int) []*node {
			return startExternal(t, startNATS(t, -1), count)
		}},
	}
}

// onEach runs a test on every topology.
func onEach(t *testing.T, test func(t *testing.T, nodes []*node)) {
	t.Helper()
	for _, top := range topologies() {
		t.Run(top.name, func(t *testing.T) { test(t, top.start(t, top.most)) })
	}
}

func startMesh(t *testing.T, count int) []*node {
	t.Helper()
	var nodes []*node
	var peers []string
	for n := range count {
		nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", n+1), func(o *cluster.Options) {
			o.ListenAddr = "127.0.0.1:0"
			o.Peers = peers
			o.Secret = "mesh-secret"
			// However busy another node is, it is waited for.
			o.ConfirmTimeout, o.HeartbeatInterval = calm, 5*time.Second
		}))
		if n == 0 {
			peers = []string{"nats://" + nodes[0].ClusterAddr().String()}
		}
	}
	awaitRoster(t, nodes)
	return nodes
}

func startExternal(t *testing.T, srv *server.Server, count int) []*node {
	t.Helper()
	var nodes []*node
	for n := range count {
		nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", n+1), func(o *cluster.Options) {
			o.NATSURL = srv.ClientURL()
		}))
	}
	awaitRoster(t, nodes)
	return nodes
}

// awaitRoster waits until all nodes know one another.
func awaitRoster(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "roster of "+n.opts.NodeName, func() bool {
			c, err := n.Stats(t.Context(), stats.Query{Limit: 1}, true)
			return err == nil && c.Complete && len(c.Nodes) == len(nodes)
		})
	}
}

// startNATS starts an external server; port -1 is any, which may be used again
// when the server has ended.
func startNATS(t *testing.T, port int) *server.Server {
	t.Helper()
	return startNATSWith(t, &server.Options{Port: port, MaxPayload: 2 << 20})
}

func startNATSWith(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	if o.Port == -1 {
		port, err := harness.FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o.Port = port
	}
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatalf("nats server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats server is not ready")
	}
	t.Cleanup(func() { stopNATS(srv) })
	return srv
}

func stopNATS(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

func portOf(t *testing.T, srv *server.Server) int {
	t.Helper()
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("address %v", srv.Addr())
	}
	return addr.Port
}

func tenant(t *testing.T, name string) address.TenantID {
	t.Helper()
	id, err := address.ParseTenantID(name)
	if err != nil {
		t.Fatalf("tenant %q: %v", name, err)
	}
	return id
}

func channelOf(t *testing.T, tenantName, name string) address.Target {
	t.Helper()
	c, err := address.ParseChannel(name)
	if err != nil {
		t.Fatalf("channel %q: %v", name, err)
	}
	target, err := address.ChannelTarget(tenant(t, tenantName), c)
	if err != nil {
		t.Fatalf("channel %q of %q: %v", name, tenantName, err)
	}
	return target
}

func userOf(t *testing.T, tenantName, name string) address.Target {
	t.Helper()
	u, err := address.ParseUserID(name)
	if err != nil {
		t.Fatalf("user %q: %v", name, err)
	}
	target, err := address.UserTarget(tenant(t, tenantName), u)
	if err != nil {
		t.Fatalf("user target: %v", err)
	}
	return target
}

func tenantOf(t *testing.T, name string) address.Target {
	t.Helper()
	target, err := address.TenantTarget(tenant(t, name))
	if err != nil {
		t.Fatalf("tenant target: %v", err)
	}
	return target
}

// noneOf fails if the sink got a payload with one of these prefixes.
func (s *sink) noneOf(t *testing.T, prefixes ...string) {
	t.Helper()
	for _, p := range s.payloads() {
		for _, prefix := range prefixes {
			if strings.HasPrefix(p, prefix) {
				t.Errorf("got %q", p)
			}
		}
	}
}
