package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

func TestRestartKeepsEpochAndMessages(t *testing.T) {
	dir := t.TempDir()
	target := channelOf(t, "acme", "log:1")
	n := startStore(t, dir)
	first := n.accept(t, msg(target, "first")).Position
	n.accept(t, keyed(target, "keyed", "k"))
	n.stop(t)

	n = startStore(t, dir)
	epoch, offsets := n.last(t, target)
	if epoch != first.Epoch || offsets[0] <= first.Offset {
		t.Errorf("epoch %q at %v, was %+v", epoch, offsets, first)
	}
	if p := n.read(t, target, first.Offset, 10); fmt.Sprint(payloadsOf(p)) != "[keyed]" || p.Gap != "" || p.Epoch != epoch {
		t.Errorf("read %q, gap %q", payloadsOf(p), p.Gap)
	}
	if a := n.accept(t, keyed(target, "keyed", "k")); !a.Duplicate || a.Position.Offset != offsets[0] {
		t.Errorf("the key is forgotten: %+v", a)
	}
	if next := n.store(t, target, "next"); next <= offsets[0] {
		t.Errorf("offset %d after %d", next, offsets[0])
	}
}

func TestOtherStoreIsAnotherEpoch(t *testing.T) {
	target := channelOf(t, "acme", "log:1")
	n := startStore(t, t.TempDir())
	first := n.accept(t, msg(target, "x")).Position
	n.stop(t)
	n = startStore(t, t.TempDir())
	if epoch, offsets := n.last(t, target); epoch == first.Epoch || epoch == "" || offsets[0] != 0 {
		t.Errorf("epoch %q at %v", epoch, offsets)
	}
}

// TestWipedStore: a stream that was deleted while nodes run comes back with a new
// epoch, on all of them.
func TestWipedStore(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	nodes := startStoring(t, srv, 2)
	target := channelOf(t, "acme", "log:1")
	nodes[1].acquire(t, target)
	var old uint64
	for range 3 {
		old = nodes[0].store(t, target, "old")
	}
	before, _ := nodes[1].last(t, target)
	doubted := nodes[1].sink.doubted(address.Target{})
	js, err := jetstream.New(tap(t, srv.ClientURL()))
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	if err := js.DeleteStream(t.Context(), "PD1H"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	eventually(t, "stored again", func() bool {
		a, err := nodes[0].Publish(t.Context(), msg(target, "new"))
		if err == nil && (a.Position.Epoch == before || a.Position.Offset > old) {
			t.Fatalf("stored at %+v in the old epoch", a.Position)
		}
		return err == nil
	})
	eventually(t, "the other node knows", func() bool {
		epoch, _, err := nodes[1].Last(t.Context(), []address.Target{target})
		return err == nil && epoch != before
	})
	eventually(t, "the other node is told", func() bool { return nodes[1].sink.doubted(address.Target{}) > doubted })
	a, _ := nodes[0].last(t, target)
	b, _ := nodes[1].last(t, target)
	if a != b {
		t.Errorf("two epochs: %q and %q", a, b)
	}
	if p := nodes[1].read(t, target, 0, 10); p.Epoch != a || len(p.Messages) != 1 || string(p.Messages[0].Payload) != "new" {
		t.Errorf("read %q of %q", payloadsOf(p), p.Epoch)
	}
}

// TestNewStreamOfAnOperator: a stream that somebody else made anew has a new epoch,
// at once and also for a node that has only listened.
func TestNewStreamOfAnOperator(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	nodes := startStoring(t, srv, 2)
	target := channelOf(t, "acme", "log:1")
	nodes[1].acquire(t, target)
	old := nodes[0].accept(t, msg(target, "old")).Position
	nodes[1].sink.awaitPayload(t, "old")
	js, err := jetstream.New(tap(t, srv.ClientURL()))
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	made, err := js.Stream(t.Context(), "PD1H")
	if err == nil {
		err = js.DeleteStream(t.Context(), "PD1H")
	}
	if err == nil {
		_, err = js.CreateOrUpdateStream(t.Context(), made.CachedInfo().Config)
	}
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	eventually(t, "stored again", func() bool {
		a, err := nodes[1].Publish(t.Context(), msg(target, "new"))
		if err == nil && a.Position.Epoch == old.Epoch {
			t.Fatalf("stored at %+v, the old epoch is %q", a.Position, old.Epoch)
		}
		return err == nil
	})
	for _, n := range nodes {
		eventually(t, "new epoch", func() bool {
			epoch, _, err := n.Last(t.Context(), []address.Target{target})
			return err == nil && epoch != old.Epoch
		})
	}
}

// TestStreamThatWentBackwards: offsets that were given out are not given out again
// in the same epoch.
func TestStreamThatWentBackwards(t *testing.T) {
	for name, forget := range map[string]func(t *testing.T, js jetstream.JetStream, n *node, epoch string, last uint64){
		"by the record": func(t *testing.T, js jetstream.JetStream, _ *node, _ string, last uint64) {
			t.Helper()
			touchRecord(t, js, func(r map[string]any) { r["offset"] = last + 1000 })
		},
		"by another node": func(t *testing.T, js jetstream.JetStream, n *node, epoch string, last uint64) {
			t.Helper()
			hb, err := proto.Marshal(&clusterv1.Heartbeat{Node: "x", Incarnation: 1, HistoryEpoch: epoch, HistoryOffset: last + 1000})
			if err != nil {
				t.Fatalf("marshal: %v", err)
			}
			if err := js.Conn().Publish("pd1.hb.x", hb); err != nil {
				t.Fatalf("publish: %v", err)
			}
			awaitRosterOf(t, n, 2)
			touchRecord(t, js, func(map[string]any) {})
		},
		"by an empty record": func(t *testing.T, js jetstream.JetStream, _ *node, _ string, _ uint64) {
			t.Helper()
			touchRecord(t, js, func(r map[string]any) { clear(r) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startJetStream(t, server.Options{})
			n := startStoring(t, srv, 1)[0]
			target := channelOf(t, "acme", "log:1")
			last := n.store(t, target, "x")
			epoch, _ := n.last(t, target)
			js, err := jetstream.New(tap(t, srv.ClientURL()))
			if err != nil {
				t.Fatalf("jetstream: %v", err)
			}
			doubted := n.sink.doubted(address.Target{})
			forget(t, js, n, epoch, last)
			eventually(t, "new epoch", func() bool {
				now, _, err := n.Last(t.Context(), []address.Target{target})
				return err == nil && now != epoch
			})
			eventually(t, "doubt", func() bool { return n.sink.doubted(address.Target{}) > doubted })
			now, _ := n.last(t, target)
			if a := n.accept(t, msg(target, "y")); a.Position.Epoch != now {
				t.Errorf("stored in %q, the epoch is %q", a.Position.Epoch, now)
			}
		})
	}
}

// TestRestoredBackup: the store of NATS is put back to what it was some time ago,
// with the record of the epoch. What was stored since is gone, and its offsets are
// given out again: in another epoch, also to who publishes at once.
func TestRestoredBackup(t *testing.T) {
	t.Run("and nobody publishes", func(t *testing.T) { checkRestoredBackup(t, 20, false) })
	t.Run("and what is lost is made good at once", func(t *testing.T) { checkRestoredBackup(t, 1, true) })
}

func checkRestoredBackup(t *testing.T, lost int, busy bool) {
	t.Helper()
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	srv := startJetStream(t, server.Options{StoreDir: dir})
	port := portOf(t, srv)
	nodes := startStoringWithin(t, srv, 2, brisk)
	target := channelOf(t, "acme", "log:1")
	nodes[1].acquire(t, target)
	kept := nodes[0].accept(t, msg(target, "kept")).Position

	stopNATS(srv)
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	srv = startJetStream(t, server.Options{StoreDir: dir, Port: port})
	given := map[message.Position]bool{kept: true}
	for i := range lost {
		eventually(t, "stored again", func() bool {
			a, err := nodes[0].Publish(t.Context(), keyed(target, "lost", fmt.Sprint("lost", i)))
			given[a.Position] = err == nil
			return err == nil
		})
	}
	if last, _ := nodes[0].last(t, target); last != kept.Epoch {
		t.Fatalf("a restart began the epoch %q, it was %q", last, kept.Epoch)
	}

	stopNATS(srv)
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	doubted := nodes[1].sink.doubted(address.Target{})
	startJetStream(t, server.Options{StoreDir: dir, Port: port})
	for n := 0; busy; {
		a, err := nodes[0].Publish(t.Context(), msg(target, "busy"))
		if err != nil {
			continue
		}
		n++
		if given[a.Position] {
			t.Fatalf("the position %+v was given out twice", a.Position)
		}
		given[a.Position] = true
		busy = a.Position.Epoch == kept.Epoch
		if n > 1000*lost {
			t.Fatal("the epoch does not change")
		}
	}
	for _, n := range nodes {
		eventually(t, "new epoch", func() bool {
			epoch, _, err := n.Last(t.Context(), []address.Target{target})
			return err == nil && epoch != kept.Epoch
		})
	}
	eventually(t, "the other node is told", func() bool { return nodes[1].sink.doubted(address.Target{}) > doubted })
	a, _ := nodes[0].last(t, target)
	if b, _ := nodes[1].last(t, target); a != b {
		t.Errorf("two epochs: %q and %q", a, b)
	}
	if next := nodes[0].accept(t, msg(target, "next")).Position; next.Epoch != a || given[next] {
		t.Errorf("stored at %+v, in %q", next, a)
	}
	got := payloadsOf(nodes[1].read(t, target, 0, 100))
	if got[0] != "kept" || got[len(got)-1] != "next" || slices.Contains(got, "lost") {
		t.Errorf("read %q", got)
	}
}

// touchRecord changes the record of the epoch from outside.
func touchRecord(t *testing.T, js jetstream.JetStream, edit func(map[string]any)) {
	t.Helper()
	s, err := js.Stream(t.Context(), "PD1E")
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	old, err := s.GetLastMsgForSubject(t.Context(), "pde1.history")
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	var r map[string]any
	if err := json.Unmarshal(old.Data, &r); err != nil {
		t.Fatalf("record: %v", err)
	}
	// Numbers of JSON are no offsets: those of 64 bits stay as text.
	var exact struct {
		Created json.Number `json:"created"`
	}
	if err := json.Unmarshal(old.Data, &exact); err != nil {
		t.Fatalf("record: %v", err)
	}
	r["created"] = exact.Created
	edit(r)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	if _, err := js.Publish(t.Context(), "pde1.history", data); err != nil {
		t.Fatalf("publish: %v", err)
	}
}
