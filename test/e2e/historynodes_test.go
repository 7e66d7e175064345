package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// historyNode is a process that stores the history of a mesh; it may be started
// again on what it has stored.
type historyNode struct {
	name string
	args []string
	*harness.Node
}

func newHistoryNode(t *testing.T, name, addr string, peers []string) *historyNode {
	t.Helper()
	return &historyNode{name: name, args: []string{
		"--jwt-secret-file", suite.secretFile, "--cluster-addr", addr, "--cluster-peers", strings.Join(peers, ","),
		"--history-node", "--data-dir", filepath.Join(t.TempDir(), "data"),
	}}
}

// start returns when the node is ready. dir is for its output, new each time.
func (h *historyNode) start(ctx context.Context, dir string) error {
	n, err := harness.Start(ctx, suite.binary, dir, h.name, h.args...)
	if err != nil {
		return fmt.Errorf("start %s: %w", h.name, err)
	}
	h.Node = n
	return nil
}

// startHistoryNodes runs the three nodes of a mesh that store its history, with
// args.
func startHistoryNodes(ctx context.Context, t *testing.T, args ...string) []*historyNode {
	t.Helper()
	addrs, err := harness.FreeAddrs(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	var peers []string
	for _, a := range addrs {
		peers = append(peers, "nats://"+a)
	}
	var nodes []*historyNode
	for i, name := range []string{"a", "b", "c"} {
		n := newHistoryNode(t, name, addrs[i], peers)
		n.args = append(n.args, args...)
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			if n.Node == nil {
				continue
			}
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	startTogether(ctx, t, nodes)
	return nodes
}

// startTogether starts nodes that wait for one another.
func startTogether(ctx context.Context, t *testing.T, nodes []*historyNode) {
	t.Helper()
	started := make(chan error, len(nodes))
	for _, n := range nodes {
		dir := nodeDir(t)
		go func() { started <- n.start(ctx, dir) }() // received below
	}
	var errs []error
	for range nodes {
		errs = append(errs, <-started)
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Three processes store a history together; one is killed and comes back.
func TestHistoryNodes(t *testing.T) {
	ctx := bounded(t)
	nodes := startHistoryNodes(ctx, t)
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n.Node), sameRules("a", "b", "c"))
	}

	if err := nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := control(t, nodes[0].Node).BroadcastAll(ctx, &pushdv1.BroadcastAllRequest{
		EventType: "still", Payload: &pushdv1.BroadcastAllRequest_Json{Json: payload("still")},
	}); err != nil {
		t.Errorf("publish without one of the history nodes: %v", err)
	}
	if err := nodes[1].start(ctx, nodeDir(t)); err != nil {
		t.Fatal(err)
	}
	awaitStats(ctx, t, control(t, nodes[1].Node), sameRules("a", "b", "c"))

	// The store knows its owner.
	stranger := newHistoryNode(t, "d", "127.0.0.1:0", []string{"nats://" + nodes[0].Cluster})
	stranger.args = slices.Concat(stranger.args, []string{"--data-dir", nodes[2].args[len(nodes[2].args)-1]})
	if err := stranger.start(ctx, nodeDir(t)); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("a node on the directory of another: %v", err)
	}
}

// sameRules wants these nodes, all there, with the same history rules.
func sameRules(names ...string) func(*pushdv1.StatsResponse) error {
	return func(r *pushdv1.StatsResponse) error {
		if err := wantNodes(names...)(r); err != nil {
			return err
		}
		for _, n := range r.GetNodes() {
			if n.GetHistoryRules() == "" || n.GetHistoryRules() != r.GetNodes()[0].GetHistoryRules() {
				return fmt.Errorf("history rules of %s are %q", n.GetName(), n.GetHistoryRules())
			}
		}
		return nil
	}
}
