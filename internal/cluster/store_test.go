package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// storing makes a node keep the channels log:** and every inbox for an hour, four
// messages of few:**, and aging:** for two seconds.
func storing(t *testing.T, edit func(*cluster.HistoryOptions)) func(*cluster.Options) {
	t.Helper()
	rule := func(pattern string, l history.Limit) history.Rule {
		p, err := address.ParsePattern(pattern)
		if err != nil {
			t.Fatalf("pattern: %v", err)
		}
		return history.Rule{Channels: p, Limit: l}
	}
	h := &cluster.HistoryOptions{Rules: history.Rules{
		Channels: []history.Rule{
			rule("log:**", history.Limit{Messages: 1000, Age: time.Hour}),
			rule("few:**", history.Limit{Messages: 4, Age: time.Hour}),
			rule("aging:**", history.Limit{Messages: 1000, Age: 2 * time.Second}),
		},
		Inbox: history.Limit{Messages: 100, Age: time.Hour},
	}}
	if edit != nil {
		edit(h)
	}
	return func(o *cluster.Options) { o.History = h }
}

// startStore starts a lone node with a history in dir.
func startStore(t *testing.T, dir string) *node {
	t.Helper()
	return startNode(t, "n1", storing(t, func(h *cluster.HistoryOptions) { h.StoreDir = dir }))
}

// startJetStream starts an external server with JetStream.
func startJetStream(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.JetStream, o.MaxPayload = true, 2<<20
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	if o.Port == 0 {
		o.Port = -1
	}
	return startNATSWith(t, &o)
}

// startStoring starts nodes with a history in an external server.
func startStoring(t *testing.T, srv *server.Server, count int) []*node {
	t.Helper()
	return startStoringWithin(t, srv, count, calm)
}

// startStoringWithin is startStoring with a time for publishing.
func startStoringWithin(t *testing.T, srv *server.Server, count int, timeout time.Duration) []*node {
	t.Helper()
	var nodes []*node
	for n := range count {
		rules := storing(t, nil)
		nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", n+1), func(o *cluster.Options) {
			rules(o)
			o.NATSURL, o.PublishTimeout = srv.ClientURL(), timeout
		}))
	}
	return nodes
}

// onEachStore runs a test on a lone node and on two with an external server.
func onEachStore(t *testing.T, test func(t *testing.T, nodes []*node)) {
	t.Helper()
	t.Run("lone", func(t *testing.T) { test(t, []*node{startStore(t, t.TempDir())}) })
	t.Run("external", func(t *testing.T) { test(t, startStoring(t, startJetStream(t, server.Options{}), 2)) })
}

// streamOf looks at a stream from outside.
func streamOf(t *testing.T, srv *server.Server, name string) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(tap(t, srv.ClientURL()))
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatalf("stream %s: %v", name, err)
	}
	return s
}

// store publishes what is to be stored, and returns its offset.
func (n *node) store(t *testing.T, target address.Target, payload string) uint64 {
	t.Helper()
	return n.accept(t, msg(target, payload)).Position.Offset
}

func (n *node) accept(t *testing.T, m *message.Message) message.Accepted {
	t.Helper()
	a, err := n.Publish(t.Context(), m)
	if err != nil {
		t.Fatalf("publish %s: %v", m.Payload, err)
	}
	return a
}

// acceptMortal stores a message that lives for about a second, with a key unless
// that is empty. On a busy machine it lives for as long as it takes to store it.
func (n *node) acceptMortal(t *testing.T, target address.Target, payload, key string) message.Accepted {
	t.Helper()
	for life := 1200 * time.Millisecond; ; life *= 3 {
		m := keyed(target, payload, key)
		m.Deadline = time.Now().Add(life)
		a, err := n.Publish(t.Context(), m)
		if err != nil && time.Now().After(m.Deadline) && life < patience {
			continue
		}
		if err != nil {
			t.Fatalf("publish %s: %v", payload, err)
		}
		return a
	}
}

// read reads forward.
func (n *node) read(t *testing.T, target address.Target, after uint64, limit int) *history.Page {
	t.Helper()
	p, err := n.Read(t.Context(), target, history.Query{After: after, Limit: limit, Bytes: 1 << 20})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return p
}

func (n *node) last(t *testing.T, targets ...address.Target) (string, []uint64) {
	t.Helper()
	epoch, offsets, err := n.Last(t.Context(), targets)
	if err != nil {
		t.Fatalf("last: %v", err)
	}
	if len(offsets) != len(targets) {
		t.Fatalf("last: %d offsets for %d targets", len(offsets), len(targets))
	}
	return epoch, offsets
}

func payloadsOf(p *history.Page) []string {
	var out []string
	for _, m := range p.Messages {
		out = append(out, string(m.Payload))
	}
	return out
}

func TestStoredIsCopiedLiveWithItsPosition(t *testing.T) {
	onEachStore(t, func(t *testing.T, nodes []*node) {
		from, to := nodes[0], nodes[len(nodes)-1]
		log, inbox, plain := channelOf(t, "acme", "log:1"), userOf(t, "acme", "ann"), channelOf(t, "acme", "plain")
		for _, target := range []address.Target{log, inbox, plain} {
			to.acquire(t, target)
		}
		if !from.Keeps(log) || !from.Keeps(inbox) || from.Keeps(plain) || from.Keeps(tenantOf(t, "acme")) {
			t.Error("the rules are not followed")
		}
		sent := msg(log, "one")
		sent.FromClient, sent.Exclude = true, message.NewID()
		first := from.accept(t, sent)
		other := from.accept(t, msg(inbox, "two"))
		third := from.accept(t, msg(log, "three"))
		live := from.accept(t, msg(plain, "live"))
		never := msg(log, "never")
		never.Store = message.StoreNever
		unstored := from.accept(t, never)
		always := msg(plain, "always")
		always.Store = message.StoreAlways
		kept := from.accept(t, always)
		if live.Position != (message.Position{}) || unstored.Position != (message.Position{}) {
			t.Errorf("what is not stored has a position: %+v %+v", live, unstored)
		}
		if first.ID != sent.ID || first.Duplicate || first.Position.Epoch == "" {
			t.Errorf("accepted %+v", first)
		}
		to.sink.await(t, "all", func(got []*message.Message) bool { return len(got) == 6 })
		positions := make(map[string][2]uint64)
		for _, m := range to.sink.got {
			positions[string(m.Payload)] = [2]uint64{m.Position.Offset, m.Previous}
			if m.Position.Offset != 0 && m.Position.Epoch != first.Position.Epoch {
				t.Errorf("epoch %q", m.Position.Epoch)
			}
			if string(m.Payload) == "one" {
				if !m.FromClient || m.Exclude != sent.Exclude || m.ID != sent.ID || !m.Deadline.IsZero() {
					t.Errorf("copy %+v", m)
				}
			}
		}
		want := map[string][2]uint64{
			"one": {first.Position.Offset, 0}, "two": {other.Position.Offset, 0},
			"three": {third.Position.Offset, first.Position.Offset},
			"live":  {}, "never": {}, "always": {kept.Position.Offset, 0},
		}
		if fmt.Sprint(positions) != fmt.Sprint(want) {
			t.Errorf("positions %v, want %v", positions, want)
		}
		if got := payloadsOf(from.read(t, log, 0, 10)); fmt.Sprint(got) != "[one three]" {
			t.Errorf("stored %q", got)
		}
		if got := payloadsOf(from.read(t, plain, 0, 10)); fmt.Sprint(got) != "[always]" {
			t.Errorf("stored %q", got)
		}
	})
}

func TestOrderOfManyPublishersOnOneChannel(t *testing.T) {
	const publishers, each = 8, 100
	onEachStore(t, func(t *testing.T, nodes []*node) {
		target := channelOf(t, "acme", "log:order")
		for _, n := range nodes {
			n.acquire(t, target)
		}
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				answers := make(chan error, each)
				for i := range each {
					err := nodes[p%len(nodes)].Submit(msg(target, fmt.Sprintf("%d %d", p, i)), func(_ message.Accepted, err error) { answers <- err })
					if err != nil {
						t.Errorf("submit: %v", err)
						return
					}
				}
				for range each {
					if err := <-answers; err != nil {
						t.Errorf("publish: %v", err)
					}
				}
			})
		}
		wg.Wait()
		for _, n := range nodes {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s has lost NATS %v times", n.opts.NodeName, n.count(t, "pushd_cluster_reconnects_total", ""))
				}
			})
			n.sink.await(t, "all", func(got []*message.Message) bool { return len(got) >= publishers*each })
			next := make([]int, publishers)
			last := uint64(0)
			for _, m := range n.sink.got {
				var p, i int
				if _, err := fmt.Sscanf(string(m.Payload), "%d %d", &p, &i); err != nil || next[p] != i {
					t.Fatalf("%q came, want number %d: %v", m.Payload, next[p], err)
				}
				next[p]++
				if m.Previous != last || m.Position.Offset <= last {
					t.Fatalf("offset %d after %d, says it was %d", m.Position.Offset, last, m.Previous)
				}
				last = m.Position.Offset
			}
		}
	})
}

func TestWithoutHistory(t *testing.T) {
	n := startNode(t, "n1", nil)
	target := channelOf(t, "acme", "log:1")
	n.acquire(t, target)
	n.publish(t, target, "live")
	n.sink.awaitPayload(t, "live")
	always, keyed := msg(target, "always"), msg(target, "keyed")
	always.Store, keyed.Key = message.StoreAlways, "k"
	for _, m := range []*message.Message{always, keyed} {
		if _, err := n.Publish(t.Context(), m); !errors.Is(err, message.ErrNotStored) {
			t.Errorf("publish %s: %v", m.Payload, err)
		}
		if err := n.Submit(m, func(message.Accepted, error) { t.Error("done was called") }); !errors.Is(err, message.ErrNotStored) {
			t.Errorf("submit %s: %v", m.Payload, err)
		}
	}
	if _, _, err := n.Last(t.Context(), []address.Target{target}); !errors.Is(err, message.ErrNotStored) {
		t.Errorf("last: %v", err)
	}
	if _, err := n.Read(t.Context(), target, history.Query{Limit: 1, Bytes: 1}); !errors.Is(err, message.ErrNotStored) {
		t.Errorf("read: %v", err)
	}
	if n.Keeps(target) || n.Keeps(userOf(t, "acme", "ann")) {
		t.Error("keeps")
	}
}

func TestWhatCanNotBeStored(t *testing.T) {
	n := startStore(t, t.TempDir())
	for _, target := range []address.Target{tenantOf(t, "acme"), address.AllTarget()} {
		m := msg(target, "x")
		m.Store = message.StoreAlways
		if _, err := n.Publish(t.Context(), m); !errors.Is(err, message.ErrNotStored) {
			t.Errorf("publish: %v", err)
		}
	}
}

func TestForgedCopiesAreDropped(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	n := startStoring(t, srv, 1)[0]
	nc := tap(t, srv.ClientURL())
	target, keyed := channelOf(t, "1", "log:c"), channelOf(t, "1", "plain")
	n.acquire(t, target)
	n.acquire(t, keyed)
	copies := make(chan *nats.Msg, 16)
	if _, err := nc.ChanSubscribe("pd1.*.1.>", copies); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	n.store(t, target, "real")
	genuine := <-copies
	m := msg(keyed, "keyed")
	m.Key = "k"
	n.accept(t, m)
	keyedCopy := <-copies
	n.sink.awaitPayload(t, "keyed")
	header := func(edit func(nats.Header)) nats.Header {
		h := nats.Header{}
		for k, v := range genuine.Header {
			h[k] = v
		}
		edit(h)
		return h
	}
	other := "pd1.c.10" + genuine.Subject[len("pd1.c.1"):]
	for _, forged := range []struct {
		name, subject string
		header        nats.Header
	}{
		{"no headers", genuine.Subject, nil},
		{"no position", genuine.Subject, header(func(h nats.Header) { h.Del("Nats-Sequence") })},
		{"no previous", genuine.Subject, header(func(h nats.Header) { h.Del("Nats-Last-Sequence") })},
		{"previous is later", genuine.Subject, header(func(h nats.Header) { h.Set("Nats-Last-Sequence", h.Get("Nats-Sequence")) })},
		{"position is no number", genuine.Subject, header(func(h nats.Header) { h.Set("Nats-Sequence", "+7") })},
		{"other stream", genuine.Subject, header(func(h nats.Header) { h.Set("Nats-Stream", "PD1K") })},
		{"other subject", genuine.Subject, header(func(h nats.Header) { h.Set("Nats-Subject", "pdh1.1.00.x") })},
		{"other tenant", other, header(func(h nats.Header) { h.Set("Nats-Subject", "pdh1."+other[len("pd1.c."):]) })},
		{"stored on what is not", "pd1.e" + genuine.Subject[len("pd1.c"):], genuine.Header},
		{"keyed on what is stored", "pd1.c" + keyedCopy.Subject[len("pd1.e"):], keyedCopy.Header},
	} {
		t.Run(forged.name, func(t *testing.T) {
			// The subject of another tenant is not subscribed: nothing comes at all.
			before := n.dropped(t, "foreign")
			if err := nc.PublishMsg(&nats.Msg{Subject: forged.subject, Header: forged.header, Data: genuine.Data}); err != nil {
				t.Fatalf("publish: %v", err)
			}
			if forged.subject == other {
				return
			}
			eventually(t, "drop", func() bool { return n.dropped(t, "foreign") == before+1 })
		})
	}
	before := n.dropped(t, "foreign")
	if err := nc.PublishMsg(&nats.Msg{Subject: genuine.Subject, Header: genuine.Header, Data: keyedCopy.Data}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	eventually(t, "drop of another target", func() bool { return n.dropped(t, "foreign") == before+1 })
	n.store(t, target, "still real")
	n.sink.awaitPayload(t, "still real")
	if got := n.sink.payloads(); fmt.Sprint(got) != "[real keyed still real]" {
		t.Errorf("delivered %q", got)
	}
}

// TestHistoryIsMeasured: how full the history is can be watched.
func TestHistoryIsMeasured(t *testing.T) {
	dir := t.TempDir()
	room := storing(t, func(h *cluster.HistoryOptions) { h.StoreDir, h.MaxBytes = dir, 8<<20 })
	n := startNode(t, "n1", room)
	n.store(t, channelOf(t, "acme", "log:1"), strings.Repeat("x", 100_000))
	n.stop(t)
	n = startNode(t, "n1", room)
	if got := n.count(t, "pushd_cluster_history_bytes", ""); got < 100_000 || got > 110_000 {
		t.Errorf("%v bytes are stored", got)
	}
	if got := n.count(t, "pushd_cluster_history_max_bytes", ""); got < 6<<20 || got > 7<<20 {
		t.Errorf("room for %v bytes", got)
	}
}
