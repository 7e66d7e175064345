package e2e_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// startMesh runs three nodes that find each other. Each is told of those before
// it.
func startMesh(ctx context.Context, t *testing.T) []*harness.Node {
	t.Helper()
	// Who is killed is called again and again: nobody else may get his port.
	addrs, err := harness.FreeAddrs(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*harness.Node
	var peers []string
	for i, name := range []string{"a", "b", "c"} {
		n := startNode(ctx, t, name, append([]string{"--cluster-addr", addrs[i]}, peers...)...)
		nodes = append(nodes, n)
		peers = append(peers, "--cluster-peers", "nats://"+n.Cluster)
	}
	return nodes
}

// startAround runs nodes that meet at an external NATS.
func startAround(ctx context.Context, t *testing.T, s *natsServer, names ...string) []*harness.Node {
	t.Helper()
	var nodes []*harness.Node
	for _, name := range names {
		nodes = append(nodes, startNode(ctx, t, name, "--nats-url", s.URL()))
	}
	return nodes
}

func TestMeshOfThreeProcesses(t *testing.T) {
	ctx := bounded(t)
	checkCluster(ctx, t, startMesh(ctx, t))
}

func TestThreeProcessesAroundExternalNATS(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	checkCluster(ctx, t, startAround(ctx, t, s, "a", "b", "c"))
}

// members are the connections of checkCluster: two on a, one on b, none on c.
type members struct{ annA, annToo, bobB *harness.Socket }

// checkCluster holds three nodes named a, b and c to what a cluster promises.
// It ends with b being killed.
func checkCluster(ctx context.Context, t *testing.T, nodes []*harness.Node) {
	t.Helper()
	a, b, c := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n), wantNodes("a", "b", "c"))
	}
	m := members{
		annA:   connect(ctx, t, a, "acme", "ann"),
		annToo: connect(ctx, t, a, "acme", "ann"),
		bobB:   connect(ctx, t, b, "acme", "bob"),
	}
	join(ctx, t, m.annA, "tenant:acme:general")
	join(ctx, t, m.bobB, "tenant:acme:general")

	checkEveryCallFromEveryNode(ctx, t, nodes, m)
	checkClientsAcrossNodes(ctx, t, m)
	checkCopies(ctx, t, a, map[string]float64{"user": 3, "tenant": 3, "channel": 5, "all": 3})
	checkCopies(ctx, t, b, map[string]float64{"user": 0, "tenant": 3, "channel": 5, "all": 3})
	checkCopies(ctx, t, c, map[string]float64{"user": 0, "tenant": 0, "channel": 0, "all": 0})
	checkKill(ctx, t, nodes, m)
}

// checkEveryCallFromEveryNode makes the four calls at each node; every receiver
// must get each once, wherever it is.
func checkEveryCallFromEveryNode(ctx context.Context, t *testing.T, nodes []*harness.Node, m members) {
	t.Helper()
	var annA, annToo, bobB []string
	for _, n := range nodes {
		by := " by " + n.Name
		callAll(ctx, t, control(t, n), by)
		annA = append(annA, "user"+by, "tenant"+by, "channel"+by, "all"+by)
		annToo = append(annToo, "user"+by, "tenant"+by, "all"+by)
		bobB = append(bobB, "tenant"+by, "channel"+by, "all"+by)
	}
	for _, r := range []struct {
		name   string
		socket *harness.Socket
		marks  []string
	}{{"ann on a", m.annA, annA}, {"ann again on a", m.annToo, annToo}, {"bob on b", m.bobB, bobB}} {
		if err := awaitMarks(ctx, r.socket, r.marks...); err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
	}
	for _, s := range []*harness.Socket{m.annA, m.annToo, m.bobB} {
		checkQuiet(ctx, t, s)
	}
}

// callAll notifies ann of acme and sends to acme, its general channel and all.
// The marks are user, tenant, channel and all, with the suffix.
func callAll(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient, suffix string) {
	t.Helper()
	_, err1 := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: payload("user" + suffix)},
	})
	_, err2 := c.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
		TenantId: "acme", EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: payload("tenant" + suffix)},
	})
	_, err3 := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
		Channel: "tenant:acme:general", EventType: "news", Payload: &pushdv1.SendChannelRequest_Json{Json: payload("channel" + suffix)},
	})
	_, err4 := c.BroadcastAll(ctx, &pushdv1.BroadcastAllRequest{
		EventType: "news", Payload: &pushdv1.BroadcastAllRequest_Json{Json: payload("all" + suffix)},
	})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
}

// checkClientsAcrossNodes lets clients on two nodes talk.
func checkClientsAcrossNodes(ctx context.Context, t *testing.T, m members) {
	t.Helper()
	say := func(from *harness.Socket, text string) {
		if err := from.Say("tenant:acme:general", map[string]string{"mark": text}); err != nil {
			t.Fatal(err)
		}
	}
	say(m.annA, "from ann")
	if err := awaitMarks(ctx, m.bobB, "from ann"); err != nil {
		t.Error(err)
	}
	say(m.bobB, "from bob")
	if err := awaitMarks(ctx, m.annA, "from bob"); err != nil {
		t.Error(err)
	}
	for _, s := range []*harness.Socket{m.annA, m.annToo, m.bobB} {
		checkQuiet(ctx, t, s)
	}
}

// checkCopies compares how many messages of each kind NATS brought to a node:
// one for each that it has a receiver for, none for any other.
func checkCopies(ctx context.Context, t *testing.T, n *harness.Node, want map[string]float64) {
	t.Helper()
	for kind, copies := range want {
		got, err := n.Metric(ctx, "pushd_cluster_received_total", `kind="`+kind+`"`)
		if err != nil {
			t.Fatal(err)
		}
		if got != copies {
			t.Errorf("node %s got %v copies of messages for kind %s, want %v", n.Name, got, kind, copies)
		}
	}
}

// checkKill kills b without a word and looks how the others get along.
func checkKill(ctx context.Context, t *testing.T, nodes []*harness.Node, m members) {
	t.Helper()
	a, b, c := nodes[0], nodes[1], nodes[2]
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	callAll(ctx, t, control(t, c), "")
	if err := awaitMarks(ctx, m.annA, "user", "tenant", "channel", "all"); err != nil {
		t.Fatal(err)
	}
	if err := awaitMarks(ctx, m.annToo, "user", "tenant", "all"); err != nil {
		t.Fatal(err)
	}
	late := connect(ctx, t, c, "acme", "late")
	join(ctx, t, late, "tenant:acme:general")
	if err := m.annA.Say("tenant:acme:general", map[string]string{"mark": "hello late"}); err != nil {
		t.Fatal(err)
	}
	if err := awaitMarks(ctx, late, "hello late"); err != nil {
		t.Error(err)
	}
	for _, s := range []*harness.Socket{m.annA, m.annToo, late} {
		checkQuiet(ctx, t, s)
	}
	for _, n := range []*harness.Node{a, c} {
		awaitStats(ctx, t, control(t, n), missesB)
	}
}

// missesB is satisfied when b is named as missing and the rest is counted.
func missesB(r *pushdv1.StatsResponse) error {
	if r.GetComplete() || !slices.Equal(r.GetMissingNodes(), []string{"b"}) {
		return errors.New("b is not the one that is missing")
	}
	if r.GetTotals().GetConnections() != 3 {
		return errors.New("not 3 connections")
	}
	for _, n := range r.GetNodes() {
		s := n.GetState()
		gone := s == pushdv1.NodeState_NODE_STATE_SUSPECT || s == pushdv1.NodeState_NODE_STATE_DEAD
		if gone != (n.GetName() == "b") {
			return errors.New("a node is in a wrong state")
		}
	}
	return nil
}

func isUnavailable(err error) bool { return status.Code(err) == codes.Unavailable }
