package cluster_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/message"
)

// edgeOf makes a node answer for what is delivered to it: with one report.
func (n *node) edgeOf(report func(m *message.Message) message.NodeReport) {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.sink.edge = func(m *message.Message) { n.Report(m.ReportTo, report(m)) }
}

// asking makes a message that asks for a receipt.
func asking(target address.Target, timeout time.Duration) *message.Message {
	m := msg(target, "asking")
	m.Receipt = message.ReceiptRequest{Level: message.LevelWritten, Timeout: timeout}
	return m
}

func (n *node) receipt(t *testing.T, m *message.Message) *message.Receipt {
	t.Helper()
	got, err := n.Publish(t.Context(), m)
	if err != nil || got.ID != m.ID || got.Receipt == nil {
		t.Fatalf("publish: %+v, %v", got, err)
	}
	return got.Receipt
}

// TestReceiptAddsUp: every node is heard of, whether it has receivers or not,
// and each that has gets the message once.
func TestReceiptAddsUp(t *testing.T) {
	onEach(t, func(t *testing.T, nodes []*node) {
		holders := nodes
		if len(nodes) > 1 {
			holders = nodes[:len(nodes)-1]
		}
		conns := make([]message.ID, len(holders))
		for i, n := range holders {
			conns[i] = message.NewID()
			n.edgeOf(func(m *message.Message) message.NodeReport {
				if m.Receipt.Level != message.LevelWritten || m.Receipt.Timeout <= 0 || m.Receipt.Timeout >= time.Minute {
					t.Errorf("request %+v", m.Receipt)
				}
				r := message.NodeReport{Final: true}
				r.Counts[message.OutcomeWritten] = uint64(i + 1)
				r.Counts[message.OutcomeGone] = 1
				if m.Target.Kind() == address.KindUser {
					r.Rows = []message.ReceiptRow{{Connection: conns[i], Outcome: message.OutcomeWritten}}
				}
				return r
			})
		}
		for _, target := range []address.Target{
			userOf(t, "acme", "ann"), channelOf(t, "acme", "room"), tenantOf(t, "acme"), address.AllTarget(),
		} {
			for _, n := range holders {
				n.acquire(t, target)
			}
			want := message.Counts{}
			for i := range holders {
				want[message.OutcomeWritten] += uint64(i + 1)
				want[message.OutcomeGone]++
			}
			for _, from := range nodes {
				before := make([]float64, len(nodes))
				for i, n := range nodes {
					before[i] = n.received(t, target.Kind())
				}
				const timeout = 25 * time.Second
				began := time.Now()
				r := from.receipt(t, asking(target, timeout))
				if r.Counts != want || r.Asked != len(nodes) || r.Answered != len(nodes) || !r.Complete() {
					t.Errorf("%v from %s: %+v, want %v", target, from.opts.NodeName, r, want)
				}
				if took := time.Since(began); took >= timeout {
					t.Errorf("took %s", took)
				}
				if rows := target.Kind() == address.KindUser; rows != (len(r.Rows) == len(holders)) {
					t.Errorf("%v: rows %v", target, r.Rows)
				}
				for i, row := range r.Rows {
					if row.Node != holders[i].opts.NodeName || row.Connection != conns[i] || row.Outcome != message.OutcomeWritten {
						t.Errorf("row %+v", row)
					}
				}
				for i, n := range nodes {
					delivered := 0.0
					if i < len(holders) {
						delivered = 1
					}
					if got := n.received(t, target.Kind()) - before[i]; got != delivered {
						t.Errorf("%v: %s received it %g times", target, n.opts.NodeName, got)
					}
				}
			}
		}
		// Nobody anywhere has a receiver.
		r := nodes[0].receipt(t, asking(userOf(t, "acme", "nobody"), 25*time.Second))
		if len(nodes) > 1 && (r.Counts != message.Counts{} || r.Answered != len(nodes) || !r.Complete()) {
			t.Errorf("nobody: %+v", r)
		}
	})
}

// TestReceiptNamesWhoIsSilent: who does not report in time, and who reports what
// is not final, is missing.
func TestReceiptNamesWhoIsSilent(t *testing.T) {
	nodes := startExternal(t, startNATS(t, -1), 3)
	target := channelOf(t, "acme", "room")
	for _, n := range nodes {
		n.acquire(t, target)
	}
	nodes[0].edgeOf(func(*message.Message) message.NodeReport {
		return message.NodeReport{Final: true, Counts: message.Counts{message.OutcomeWritten: 2}}
	})
	nodes[1].edgeOf(func(*message.Message) message.NodeReport {
		return message.NodeReport{Counts: message.Counts{message.OutcomeQueued: 1}}
	})
	want := message.Counts{message.OutcomeWritten: 2, message.OutcomeQueued: 1}
	var r *message.Receipt
	// A busy machine may need more time for what is said.
	for timeout := 300 * time.Millisecond; timeout < patience/2; timeout *= 3 {
		began := time.Now()
		r = nodes[0].receipt(t, asking(target, timeout))
		if took := time.Since(began); took < timeout {
			t.Errorf("took %s", took)
		}
		if r.Counts == want {
			break
		}
	}
	if r.Counts != want || r.Asked != 3 || r.Answered != 1 || !slices.Equal(r.Missing, []string{"n2", "n3"}) || r.Complete() {
		t.Errorf("%+v", r)
	}
	// A message that nobody asks for has no receipt.
	if got, err := nodes[0].Publish(t.Context(), msg(target, "plain")); err != nil || got.Receipt != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestReceiptNamesWhoDies: a node that is cut off while it is waited for is
// named as soon as it counts as dead; so is one that leaves; and from then on it
// is named at once.
func TestReceiptNamesWhoDies(t *testing.T) {
	const beat = 500 * time.Millisecond
	srv := startNATS(t, -1)
	p := startProxy(t, srv.Addr().String())
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, startNode(t, fmt.Sprintf("n%d", i+1), func(o *cluster.Options) {
			o.HeartbeatInterval = beat
			o.NATSURL = srv.ClientURL()
			if i == 2 {
				o.NATSURL = p.url()
			}
		}))
	}
	awaitRoster(t, nodes)
	target := channelOf(t, "acme", "room")
	for _, n := range nodes {
		n.acquire(t, target)
	}
	for i, n := range nodes[:2] {
		n.edgeOf(func(*message.Message) message.NodeReport {
			return message.NodeReport{Final: true, Counts: message.Counts{message.OutcomeWritten: uint64(i + 1)}}
		})
	}
	const timeout = 30 * time.Second
	ask := func() (*message.Receipt, time.Duration) {
		began := time.Now()
		return nodes[0].receipt(t, asking(target, timeout)), time.Since(began)
	}
	nodes[2].sink.mu.Lock()
	nodes[2].sink.edge = func(*message.Message) { p.freeze() }
	nodes[2].sink.mu.Unlock()
	r, took := ask()
	if r.Counts != (message.Counts{message.OutcomeWritten: 3}) || !slices.Equal(r.Missing, []string{"n3"}) || r.Complete() {
		t.Errorf("%+v", r)
	}
	if took < 2*beat || took >= timeout {
		t.Errorf("named after %s", took)
	}
	r, took = ask()
	if !slices.Equal(r.Missing, []string{"n3"}) || r.Asked != 3 || r.Answered != 2 || took >= timeout {
		t.Errorf("%+v after %s", r, took)
	}
	// One that says goodbye meanwhile.
	left := make(chan struct{})
	nodes[1].sink.mu.Lock()
	nodes[1].sink.edge = func(*message.Message) { close(left) }
	nodes[1].sink.mu.Unlock()
	stopped := make(chan struct{})
	go func() { // the test waits for it
		defer close(stopped)
		<-left
		nodes[1].stop(t)
	}()
	r, took = ask()
	<-stopped
	if !slices.Equal(r.Missing, []string{"n2", "n3"}) || took >= timeout {
		t.Errorf("%+v after %s", r, took)
	}
	p.thaw()
}

// TestReceiptOfLateMessage: a message that comes to a node after its deadline is
// handed over all the same, so that it can be counted.
func TestReceiptOfLateMessage(t *testing.T) {
	srv := startNATS(t, -1)
	n := startNode(t, "n1", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	target := channelOf(t, "acme", "room")
	n.acquire(t, target)
	var over atomic.Pointer[chan struct{}] // closed when the first may go on
	n.sink.mu.Lock()
	n.sink.edge = func(m *message.Message) {
		if string(m.Payload) == "first" {
			if !m.Transit {
				t.Error("a message without a deadline got one for its queue")
			}
			<-*over.Load()
			return
		}
		if !time.Now().After(m.Deadline) || m.Transit {
			t.Errorf("the message is not late: %+v", m)
		}
		n.Report(m.ReportTo, message.NodeReport{Final: true, Counts: message.Counts{message.OutcomeExpired: 1}})
	}
	n.sink.mu.Unlock()
	// On a busy machine it may be late before it is sent, which is an error.
	for life := 300 * time.Millisecond; ; life *= 3 {
		held := make(chan struct{})
		over.Store(&held)
		if err := n.Enqueue(msg(target, "first")); err != nil {
			t.Fatal(err)
		}
		late := asking(target, 25*time.Second)
		late.Deadline = time.Now().Add(life)
		timer := time.AfterFunc(life+time.Millisecond, func() { close(held) })
		got, err := n.Publish(t.Context(), late)
		if err != nil && life < patience/2 && !timer.Stop() {
			continue
		}
		if r := got.Receipt; err != nil || r == nil || r.Counts != (message.Counts{message.OutcomeExpired: 1}) || !r.Complete() {
			t.Errorf("%+v, %v", r, err)
		}
		return
	}
}

// TestCloseEndsReceipts: who waits gets what is known, with the own node
// missing.
func TestCloseEndsReceipts(t *testing.T) {
	n := startNode(t, "n1", nil)
	published := make(chan struct{})
	n.sink.mu.Lock()
	n.sink.edge = func(*message.Message) { close(published) }
	n.sink.mu.Unlock()
	go func() {
		<-published
		n.stop(t)
	}()
	if r := n.receipt(t, asking(address.AllTarget(), 30*time.Second)); r.Complete() || !slices.Equal(r.Missing, []string{"n1"}) {
		t.Errorf("%+v", r)
	}
}
