package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// awaitRosterOf waits until n knows so many nodes.
func awaitRosterOf(t *testing.T, n *node, count int) {
	t.Helper()
	eventually(t, "roster", func() bool {
		c, err := n.Stats(t.Context(), stats.Query{Limit: 1}, true)
		return err == nil && len(c.Nodes) == count
	})
}

func TestHistoryAwayAndBack(t *testing.T) {
	dir := t.TempDir()
	srv := startJetStream(t, server.Options{StoreDir: dir})
	port := portOf(t, srv)
	n := startStoringWithin(t, srv, 1, brisk)[0]
	target := channelOf(t, "acme", "log:1")
	n.acquire(t, target)
	first := n.accept(t, msg(target, "before")).Position
	doubted := n.sink.doubted(address.Target{})

	stopNATS(srv)
	eventually(t, "not ready", func() bool { return !n.Ready() })
	eventually(t, "refused", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "away"))
		return errors.Is(err, message.ErrUnavailable)
	})
	began := time.Now()
	if _, err := n.Publish(t.Context(), keyed(target, "away", "k")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("with a key: %v", err)
	}
	if _, _, err := n.Last(t.Context(), []address.Target{target}); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("last: %v", err)
	}
	// It is known that NATS is away: nobody waits for it.
	if took := time.Since(began); took >= brisk {
		t.Errorf("failing took %s", took)
	}
	if !n.Keeps(target) {
		t.Error("what is away is not kept any more")
	}

	startJetStream(t, server.Options{StoreDir: dir, Port: port})
	eventually(t, "stored again", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "after"))
		return err == nil
	})
	eventually(t, "doubt", func() bool { return n.sink.doubted(address.Target{}) > doubted })
	p := n.read(t, target, first.Offset, 10)
	if fmt.Sprint(payloadsOf(p)) != "[after]" || p.Epoch != first.Epoch || p.Gap != "" {
		t.Errorf("read %q, gap %q, epoch %q", payloadsOf(p), p.Gap, p.Epoch)
	}
	eventually(t, "live again", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "live"))
		return err == nil && strings.Contains(strings.Join(n.sink.payloads(), " "), "live")
	})
	n.sink.noneOf(t, "away")
}

// TestStartWithoutJetStream: the node serves what needs no history.
func TestStartWithoutJetStream(t *testing.T) {
	srv := startNATS(t, -1)
	rules := storing(t, nil)
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.NATSURL, o.PublishTimeout = srv.ClientURL(), 500*time.Millisecond
	})
	plain := channelOf(t, "acme", "plain")
	n.acquire(t, plain)
	n.publish(t, plain, "live")
	n.sink.awaitPayload(t, "live")
	always := msg(plain, "x")
	always.Store = message.StoreAlways
	for _, m := range []*message.Message{always, keyed(plain, "x", "k")} {
		if _, err := n.Publish(t.Context(), m); !errors.Is(err, message.ErrNotStored) {
			t.Errorf("publish: %v", err)
		}
	}
	ruled := channelOf(t, "acme", "log:1")
	if n.Keeps(ruled) {
		t.Error("it keeps what it can't store")
	}
	n.acquire(t, ruled)
	n.publish(t, ruled, "live too")
	n.sink.awaitPayload(t, "live too")
}

func TestFrozenHistory(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	p := startProxy(t, srv.Addr().String())
	rules := storing(t, nil)
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.NATSURL, o.PublishTimeout = p.url(), time.Second
	})
	target := channelOf(t, "acme", "log:1")
	n.store(t, target, "before")
	p.freeze()
	began := time.Now()
	if _, err := n.Publish(t.Context(), msg(target, "frozen")); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("publish: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("failing took %s", took)
	}
	// Now it is known: but for one a second that tries, all are told at once.
	began = time.Now()
	taken := 0
	for range 20 {
		if n.Submit(msg(target, "frozen"), func(message.Accepted, error) {}) == nil {
			taken++
		}
	}
	if most := 1 + int(time.Since(began)/time.Second); taken > most {
		t.Errorf("%d were taken, want at most %d", taken, most)
	}
	p.thaw()
	eventually(t, "stored again", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "after"))
		return err == nil
	})
}

func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	p := startProxy(t, srv.Addr().String())
	rules := storing(t, nil)
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.NATSURL, o.PublishTimeout = p.url(), 30*time.Second
	})
	target := channelOf(t, "acme", "log:1")
	p.freeze()
	large := strings.Repeat("x", 1<<20)
	var done atomic.Int64
	accepted, overloaded := 0, false
	for range 200 {
		err := n.Submit(msg(target, large), func(message.Accepted, error) { done.Add(1) })
		if err == nil {
			accepted++
			continue
		}
		if overloaded = errors.Is(err, message.ErrOverloaded); !overloaded {
			t.Errorf("submit: %v", err)
		}
		break
	}
	if !overloaded || accepted < 32 || accepted > 64 {
		t.Errorf("%d MiB were accepted, overloaded %v", accepted, overloaded)
	}
	p.thaw()
	eventually(t, "all are answered, once", func() bool { return int(done.Load()) == accepted })
	eventually(t, "stored again", func() bool {
		_, err := n.Publish(t.Context(), msg(target, "after"))
		return err == nil
	})
	if int(done.Load()) != accepted {
		t.Errorf("%d answers to %d messages", done.Load(), accepted)
	}
}

// TestFullHistory fills the room of the keys, which does not make room for new
// ones.
func TestFullHistory(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	rules := storing(t, nil)
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.NATSURL, o.History.MaxBytes = srv.ClientURL(), 1<<20
	})
	ruled, plain := channelOf(t, "acme", "log:1"), channelOf(t, "acme", "plain")
	n.acquire(t, plain)
	payload := strings.Repeat("x", 16<<10)
	taken := 0
	var full error
	for full == nil && taken < 100 {
		if _, full = n.Publish(t.Context(), keyed(plain, payload, fmt.Sprint(taken))); full == nil {
			taken++
		}
	}
	if !errors.Is(full, message.ErrHistoryFull) || taken == 0 {
		t.Fatalf("after %d messages: %v", taken, full)
	}
	// Who is told at once is not even queued; one a second tries.
	began := time.Now()
	tried := 0
	for i := range 100 {
		refused := make(chan error, 1)
		err := n.Submit(keyed(plain, payload, fmt.Sprint("more", i)), func(_ message.Accepted, err error) { refused <- err })
		if err == nil {
			tried++
			err = <-refused
		}
		if !errors.Is(err, message.ErrHistoryFull) {
			t.Errorf("publish: %v", err)
		}
	}
	if most := 1 + int(time.Since(began)/time.Second); tried > most {
		t.Errorf("%d of 100 asked the stream, want at most %d", tried, most)
	}
	n.publish(t, plain, "goes on")
	n.sink.awaitPayload(t, "goes on")
	n.store(t, ruled, "stored")
	if err := streamOf(t, srv, "PD1K").Purge(t.Context()); err != nil {
		t.Fatalf("purge: %v", err)
	}
	eventually(t, "taken again", func() bool {
		_, err := n.Publish(t.Context(), keyed(plain, "after", "after"))
		return err == nil
	})
}

// TestClientsCannotFillTheKeys: the clients of a tenant use up what is theirs, and
// others go on.
func TestClientsCannotFillTheKeys(t *testing.T) {
	n := startNode(t, "n1", storing(t, func(h *cluster.HistoryOptions) {
		h.StoreDir, h.MaxBytes = t.TempDir(), 8<<20
	}))
	payload := strings.Repeat("x", 4<<10)
	send := func(tenant, key string, client bool) error {
		m := keyed(channelOf(t, tenant, "plain"), payload, key)
		m.FromClient = client
		_, err := n.Publish(t.Context(), m)
		return err
	}
	taken := 0
	var refused error
	for refused == nil && taken < 400 {
		if refused = send("acme", fmt.Sprint(taken), true); refused == nil {
			taken++
		}
	}
	if !errors.Is(refused, message.ErrOverloaded) || taken < 10 {
		t.Fatalf("after %d messages: %v", taken, refused)
	}
	if err := send("other", "k", true); err != nil {
		t.Errorf("a client of another tenant: %v", err)
	}
	if err := send("acme", "k", false); err != nil {
		t.Errorf("a service: %v", err)
	}
}

// TestRoomForTheNewest: over its room the stream drops the oldest, and readers
// learn that.
func TestRoomForTheNewest(t *testing.T) {
	n := startNode(t, "n1", storing(t, func(h *cluster.HistoryOptions) {
		h.StoreDir, h.MaxBytes = t.TempDir(), 2<<20
	}))
	target := channelOf(t, "acme", "log:1")
	first := n.store(t, target, "first")
	for range 20 {
		n.store(t, target, strings.Repeat("x", 256<<10))
	}
	last := n.store(t, target, "last")
	p, err := n.Read(t.Context(), target, history.Query{After: first, Limit: 100, Bytes: 100 << 20})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if count := len(p.Messages); count < 2 || count > 10 || p.Messages[count-1].Position.Offset != last || p.Gap == "" {
		t.Errorf("%d messages, gap %q", count, p.Gap)
	}
}

// TestEnqueueCountsWhatFailsLater: nobody else hears of it.
func TestEnqueueCountsWhatFailsLater(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:1")
	n.accept(t, keyed(target, "first", "k"))
	if err := n.Enqueue(keyed(target, "other", "k")); err != nil {
		t.Fatalf("enqueue: %v", err)
	}
	eventually(t, "counted", func() bool { return n.dropped(t, "unavailable") == 1 })
}

// TestDroppedCopyIsDoubted: what a full lane drops is named, so that it can be
// read.
func TestDroppedCopyIsDoubted(t *testing.T) {
	n := newNode("n1", storing(t, func(h *cluster.HistoryOptions) { h.StoreDir = t.TempDir() }))
	n.opts.Lanes, n.opts.LaneDepth = 1, 2
	n.sink.block = make(chan struct{})
	if err := n.start(t); err != nil {
		t.Fatalf("start: %v", err)
	}
	for _, target := range []address.Target{channelOf(t, "tenänt", "log:a.b*"), channelOf(t, "x", "public:log"), userOf(t, "a.b", "+u.ann")} {
		n.acquire(t, target)
		eventually(t, "doubt", func() bool {
			m := msg(target, "x")
			m.Store = message.StoreAlways
			n.accept(t, m)
			return n.sink.doubted(target) > 0
		})
	}
	close(n.sink.block)
}

func TestCloseAnswersAll(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:1")
	var done, failed atomic.Int64
	accepted := 0
	for range 2000 {
		err := n.Submit(msg(target, "x"), func(_ message.Accepted, err error) {
			done.Add(1)
			if err != nil {
				failed.Add(1)
			}
		})
		if err != nil {
			t.Fatalf("submit: %v", err)
		}
		accepted++
	}
	if err := n.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if int(done.Load()) != accepted || failed.Load() != 0 {
		t.Errorf("%d answers, %d of them errors, to %d messages", done.Load(), failed.Load(), accepted)
	}
	if err := n.Submit(msg(target, "late"), func(message.Accepted, error) { t.Error("done was called") }); !errors.Is(err, message.ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
}
