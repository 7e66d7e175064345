package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/stats"
)

const (
	testStream  = "TEST"
	testSubject = "test.subject"
)

// keeping makes a node keep a history in dir.
func keeping(dir string) func(*cluster.Options) {
	return func(o *cluster.Options) { o.History = &cluster.HistoryOptions{StoreDir: dir, MaxBytes: 1 << 20} }
}

// streams returns the JetStream of n.
func (n *node) streams(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(n.NATS())
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	return js
}

// makeStream makes a stream; a leader that is new may not know yet that the
// other servers are there.
func (n *node) makeStream(t *testing.T, replicas int) {
	t.Helper()
	js := n.streams(t)
	eventually(t, "stream", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: testStream, Subjects: []string{testSubject}, Storage: jetstream.FileStorage, Replicas: replicas, AllowDirect: true,
		})
		return err == nil
	})
}

// keepOne stores one message; a stream without a leader gets one in time.
func (n *node) keepOne(t *testing.T, text string) uint64 {
	t.Helper()
	js := n.streams(t)
	var seq uint64
	eventually(t, "storing "+text, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ack, err := js.Publish(ctx, testSubject, []byte(text), jetstream.WithMsgID(text), jetstream.WithRetryAttempts(0))
		if err == nil {
			seq = ack.Sequence
		}
		return err == nil
	})
	return seq
}

// stored returns a message of the stream, from any server that has it.
func (n *node) stored(t *testing.T, seq uint64) string {
	t.Helper()
	js, text := n.streams(t), ""
	eventually(t, fmt.Sprintf("message %d at %s", seq, n.opts.NodeName), func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, testStream)
		if err != nil {
			return false
		}
		m, err := s.GetMsg(ctx, seq)
		if err == nil {
			text = string(m.Data)
		}
		return err == nil
	})
	return text
}

// startAll starts nodes at once: each waits for the others.
func startAll(t *testing.T, nodes []*node) {
	t.Helper()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = n.start(t) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("start: %v", err)
	}
}

// historyMesh returns nodes that are not started, of which the first three
// store the history.
func historyMesh(t *testing.T, count int, edit func(*cluster.Options)) []*node {
	t.Helper()
	addrs := freeAddrs(t, count)
	var peers []string
	for _, a := range addrs {
		peers = append(peers, "nats://"+a)
	}
	var nodes []*node
	for i, a := range addrs {
		dir := t.TempDir()
		nodes = append(nodes, newNode(fmt.Sprintf("n%d", i+1), func(o *cluster.Options) {
			keeping(dir)(o)
			o.ListenAddr, o.Peers, o.History.Node, o.PublishTimeout = a, peers, i < 3, brisk/2
			if edit != nil {
				edit(o)
			}
		}))
	}
	return nodes
}

func TestLoneHistoryOutlivesTheNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := startNode(t, "one", keeping(dir))
	first.makeStream(t, 1)
	seq := first.keepOne(t, "kept")
	if !first.HasHistory() {
		t.Error("a lone node with a store has no history")
	}
	first.stop(t)
	// A lone node may be named anew with each start.
	second := startNode(t, "two", keeping(dir))
	if got := second.stored(t, seq); got != "kept" {
		t.Errorf("stored %q", got)
	}
	for _, path := range []string{dir, filepath.Join(dir, "lone")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

func TestNoHistoryUnlessAsked(t *testing.T) {
	n := startNode(t, "one", nil)
	_, err := n.streams(t).AccountInfo(t.Context())
	if n.HasHistory() || !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		t.Errorf("history %v, jetstream: %v", n.HasHistory(), err)
	}
}

func TestStoreOfAnotherIsRefused(t *testing.T) {
	used, lone, mesh := t.TempDir(), t.TempDir(), t.TempDir()
	startNode(t, "user", keeping(used))
	n := startNode(t, "lone", keeping(lone))
	n.makeStream(t, 1)
	n.stop(t)
	if err := os.MkdirAll(filepath.Join(mesh, "mesh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mesh, "mesh", "node"), []byte("other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asMesh := func(o *cluster.Options) {
		o.ListenAddr, o.Peers, o.History.Node = "127.0.0.1:0", []string{"nats://127.0.0.1:1"}, true
	}
	for name, c := range map[string]struct {
		dir  string
		edit func(*cluster.Options)
		want string
	}{
		"in use":         {used, nil, "another process uses it"},
		"of a lone node": {lone, asMesh, "remove " + filepath.Join(lone, "lone")},
		"of a mesh":      {mesh, nil, "remove " + filepath.Join(mesh, "mesh")},
		"of other node":  {mesh, asMesh, `belongs to the node "other"`},
		"no room":        {t.TempDir(), func(o *cluster.Options) { o.History.MaxBytes = 1 << 60 }, "has room for"},
		"no directory":   {file, nil, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode("n", func(o *cluster.Options) {
				keeping(c.dir)(o)
				if c.edit != nil {
					c.edit(o)
				}
			})
			if err := n.start(t); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

func TestHistoryOptionsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*cluster.Options)
		want string
	}{
		"lone history node":      {func(o *cluster.Options) { o.History.Node = true }, "is its own history node"},
		"external history node":  {func(o *cluster.Options) { o.NATSURL, o.History.Node = "nats://127.0.0.1:1", true }, "keeps the history itself"},
		"history node, no peers": {func(o *cluster.Options) { o.ListenAddr, o.History.Node = "127.0.0.1:0", true }, "as peers"},
		"negative size":          {func(o *cluster.Options) { o.History.MaxBytes = -1 }, "size of the history"},
		"many replicas":          {func(o *cluster.Options) { o.History.Replicas = 6 }, "replicas"},
		"no directory":           {func(o *cluster.Options) { o.History.StoreDir = "" }, "needs a directory"},
		"none, external":         {func(o *cluster.Options) { o.NATSURL, o.History.StoreDir = "nats://127.0.0.1:1", "" }, ""},
		"none, plain mesh node":  {func(o *cluster.Options) { o.ListenAddr, o.History.StoreDir = "127.0.0.1:0", "" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode("n", func(o *cluster.Options) { keeping("dir")(o); c.edit(o) })
			err := n.opts.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// The fourth node runs no JetStream: it uses that of the others.
func TestMeshHistory(t *testing.T) {
	nodes := historyMesh(t, 4, nil)
	startAll(t, nodes)
	awaitRoster(t, nodes)
	four := nodes[3]
	eventually(t, "history of the fourth node", four.HasHistory)
	four.makeStream(t, 3)
	seq := four.keepOne(t, "before")
	for _, n := range nodes {
		if got := n.stored(t, seq); got != "before" {
			t.Errorf("%s reads %q", n.opts.NodeName, got)
		}
	}
	// The leader of the stream goes.
	s, err := four.streams(t).Stream(t.Context(), testStream)
	if err != nil {
		t.Fatal(err)
	}
	leader := s.CachedInfo().Cluster.Leader
	var gone *node
	for _, n := range nodes {
		if n.opts.NodeName == leader {
			gone = n
		}
	}
	if gone == nil || gone == four {
		t.Fatalf("the stream is led by %q", leader)
	}
	gone.stop(t)
	began := time.Now()
	seq = four.keepOne(t, "without one")
	t.Logf("stored %s after the leader had gone", time.Since(began))
	for _, n := range nodes {
		if n != gone && n.stored(t, seq) != "without one" {
			t.Errorf("%s does not read what was stored", n.opts.NodeName)
		}
	}
	back := newNode(gone.opts.NodeName, func(o *cluster.Options) {
		reg := o.Registerer
		*o = gone.opts
		o.Registerer = reg
	})
	if err := back.start(t); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if got := back.stored(t, seq); got != "without one" {
		t.Errorf("the node that came back reads %q", got)
	}
}

// The history nodes are the last of six peers, and the first that are there.
func TestHistoryNodesDoNotWaitForOthers(t *testing.T) {
	nodes := historyMesh(t, 6, func(o *cluster.Options) {
		o.Peers, o.Secret = slices.Clone(o.Peers), "mesh-secret"
		slices.Reverse(o.Peers)
	})
	startAll(t, nodes[:3])
	startAll(t, nodes[3:])
	awaitRoster(t, nodes)
	eventually(t, "history of the last node", nodes[5].HasHistory)
	nodes[5].makeStream(t, 3)
	nodes[4].keepOne(t, "x")
}

func TestHistoryNodeAloneDoesNotStart(t *testing.T) {
	n := historyMesh(t, 3, nil)[0]
	n.opts.Registerer = nil
	var err error
	for limit := time.Second; limit < patience; limit *= 3 { // to get that far on a busy machine
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err = cluster.Start(ctx, n.opts, n.sink)
		cancel()
		if err == nil || strings.Contains(err.Error(), "exactly 3 history nodes") {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "exactly 3 history nodes") {
		t.Errorf("got %v", err)
	}
}

func TestRestartOfTheEmbeddedServer(t *testing.T) {
	n := startNode(t, "one", keeping(t.TempDir()))
	n.makeStream(t, 1)
	seq := n.keepOne(t, "kept")
	target := channelOf(t, "acme", "c")
	n.acquire(t, target)
	for i := range 2 {
		if err := n.RestartServer(t.Context()); err != nil {
			t.Fatalf("restart: %v", err)
		}
		back := fmt.Sprintf("back %d", i)
		eventually(t, "deliveries", func() bool {
			_, err := n.Publish(t.Context(), msg(target, back))
			return err == nil
		})
		n.sink.awaitPayload(t, back)
		if got := n.stored(t, seq); got != "kept" {
			t.Errorf("stored %q", got)
		}
		n.keepOne(t, back)
	}
	eventually(t, "ready", n.Ready)
	n.stop(t)
	if err := n.RestartServer(t.Context()); err == nil {
		t.Error("a node that has ended was restarted")
	}
}

func TestRestartThatFailsCanBeTriedAgain(t *testing.T) {
	n := startNode(t, "one", keeping(t.TempDir()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	// It may be ready at once, before it looks at the context.
	if err := n.RestartServer(ended); err != nil {
		if n.Ready() && n.NATS().FlushTimeout(time.Second) == nil {
			t.Error("there is a server after a failed start")
		}
	}
	if err := n.RestartServer(t.Context()); err != nil {
		t.Fatalf("second restart: %v", err)
	}
	eventually(t, "ready", func() bool { return n.Ready() && n.NATS().IsConnected() })
}

func TestNodesOfAMeshAreNotRestarted(t *testing.T) {
	n := startNode(t, "one", func(o *cluster.Options) { o.ListenAddr = "127.0.0.1:0" })
	if err := n.RestartServer(t.Context()); err == nil {
		t.Error("restarted")
	}
}

func TestExternalHistory(t *testing.T) {
	for name, c := range map[string]struct {
		server server.Options
		want   bool
	}{
		"without JetStream": {server.Options{Port: -1, MaxPayload: 2 << 20}, false},
		"with JetStream":    {server.Options{Port: -1, MaxPayload: 2 << 20, JetStream: true, StoreDir: t.TempDir()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log safeBuffer
			srv := startNATSWith(t, &c.server)
			n := startNode(t, "one", func(o *cluster.Options) {
				o.NATSURL, o.History, o.Logger = srv.ClientURL(), &cluster.HistoryOptions{}, debugLog(&log)
			})
			if n.HasHistory() != c.want || strings.Contains(log.String(), "no jetstream") == c.want {
				t.Errorf("history: %v, log %s", n.HasHistory(), log.String())
			}
		})
	}
}

func TestDifferentRulesAreTold(t *testing.T) {
	var log safeBuffer
	srv := startNATSWith(t, &server.Options{Port: -1, MaxPayload: 2 << 20, JetStream: true, StoreDir: t.TempDir()})
	with := func(messages int) func(*cluster.Options) {
		return func(o *cluster.Options) {
			o.NATSURL, o.HeartbeatInterval = srv.ClientURL(), 200*time.Millisecond
			o.History = &cluster.HistoryOptions{Rules: history.Rules{Inbox: history.Limit{Messages: messages, Age: time.Hour}}}
			if messages == 1 {
				o.Logger = debugLog(&log)
			}
		}
	}
	nodes := []*node{startNode(t, "a", with(1)), startNode(t, "b", with(1)), startNode(t, "c", with(2))}
	awaitRoster(t, nodes)
	told := func() int { return strings.Count(log.String(), "different history rules") }
	eventually(t, "warnings", func() bool { return told() == 2 })
	c, err := nodes[0].Stats(t.Context(), stats.Query{Limit: 1}, true)
	if err != nil || len(c.Nodes) != 3 {
		t.Fatalf("stats %+v, %v", c, err)
	}
	a, b, other := c.Nodes[0].HistoryRules, c.Nodes[1].HistoryRules, c.Nodes[2].HistoryRules
	if want := nodes[0].opts.History.Rules.Hash(); a != want || b != want || other == want || other == 0 {
		t.Errorf("rules are %x, %x and %x", a, b, other)
	}
	if told() != 2 {
		t.Errorf("told %d times", told())
	}
}

func TestWrongNumberOfHistoryNodesIsTold(t *testing.T) {
	var log safeBuffer
	n := startNode(t, "one", func(o *cluster.Options) {
		keeping("")(o)
		o.ListenAddr, o.HeartbeatInterval, o.Logger = "127.0.0.1:0", time.Millisecond, debugLog(&log)
	})
	eventually(t, "the warning", func() bool { return strings.Contains(log.String(), "no history nodes: nothing is stored") })
	if n.HasHistory() {
		t.Error("there is a history without a history node")
	}
	beat, err := proto.Marshal(&clusterv1.Heartbeat{Node: "ghost", Incarnation: 1, HistoryNode: true, HistoryRules: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.NATS().Publish("pd1.hb.ghost", beat); err != nil {
		t.Fatal(err)
	}
	eventually(t, "errors", func() bool { return strings.Count(log.String(), "wrong number of history nodes") > 1 })
	if !n.HasHistory() {
		t.Error("the history node was not noticed")
	}
}
