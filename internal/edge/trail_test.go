package edge

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/registry"
	"github.com/aegisx/pushd/internal/message"
)

// pipeSocket takes as many bytes as it has room for.
type pipeSocket struct {
	out  bytes.Buffer
	room int
}

func (s *pipeSocket) Write(bufs [][]byte) (int, error) {
	n := 0
	for _, b := range bufs {
		took := min(len(b), s.room)
		s.out.Write(b[:took])
		s.room -= took
		n += took
	}
	return n, nil
}

func (s *pipeSocket) Start()            {}
func (s *pipeSocket) CloseWrite() error { return nil }
func (s *pipeSocket) Close()            {}

// lastReport keeps what is reported, by where to.
type lastReport map[string]message.NodeReport

func (l lastReport) Report(to string, r message.NodeReport) { l[to] = r }

// TestTrailModel delivers messages with and without receipts and deadlines to a
// client that reads in random pieces and loses its queue now and then: what is
// reported is what went out.
func TestTrailModel(t *testing.T) {
	var all message.Counts
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			m := newTrailModel(rand.New(rand.NewPCG(seed, 2)))
			for range 200 {
				m.step()
			}
			m.finish(t, seed)
			for outcome, n := range m.total {
				all[outcome] += n
			}
		})
	}
	for _, o := range []message.Outcome{
		message.OutcomeQueued, message.OutcomeWritten, message.OutcomeAcked,
		message.OutcomeExpired, message.OutcomeSlow, message.OutcomeGone,
	} {
		if all[o] < 50 {
			t.Errorf("outcomes %v: there are too few of one to prove much", all)
		}
	}
}

type trailModel struct {
	*rand.Rand

	hub     *Hub
	loop    *loop
	conn    *conn
	socket  *pipeSocket
	reports lastReport
	sent    []*message.Message
	acked   map[message.ID]bool
	total   message.Counts // of what was reported
}

func newTrailModel(r *rand.Rand) *trailModel {
	m := &trailModel{Rand: r, socket: &pipeSocket{}, reports: make(lastReport), acked: make(map[message.ID]bool)}
	m.hub = &Hub{
		opts: DefaultOptions(), metrics: newMetrics(nil), start: time.Now(), directory: registry.NewDirectory(),
		bus: noBus{},
	}
	var reporter Reporter = m.reports
	m.hub.reporter.Store(&reporter)
	m.hub.opts.OutboundQueueFrames = 100
	m.loop = &loop{hub: m.hub, shard: registry.NewShard(), kick: make(chan struct{}, 1)}
	m.hub.loops = []*loop{m.loop}
	m.conn = &conn{dialect: handshake.Plain, id: message.NewID(), loop: m.loop, socket: m.socket, state: stateOpen}
	m.conn.slot = m.loop.slotLocked(m.conn)
	m.loop.joinLocked(m.conn, address.AllTarget())
	return m
}

// noBus has interest in everything.
type noBus struct{}

func (noBus) Enqueue(*message.Message) error                               { return nil }
func (noBus) Submit(*message.Message, func(message.Accepted, error)) error { return nil }
func (noBus) Acquire(address.Target, func(error)) bool                     { return true }
func (noBus) Release(address.Target)                                       {}
func (noBus) Ready() bool                                                  { return true }

func (m *trailModel) step() {
	switch m.IntN(10) {
	case 0, 1, 2, 3:
		id := message.NewID()
		msg := &message.Message{
			ID: id, Target: address.AllTarget(), Payload: []byte(id.String()), ReportTo: id.String(),
			Receipt: message.ReceiptRequest{Level: message.Level(m.IntN(4)), Timeout: time.Hour},
		}
		if m.IntN(3) == 0 {
			msg.Deadline = time.Now().Add(time.Duration(1+m.IntN(5)) * time.Second)
		}
		m.sent = append(m.sent, msg)
		m.hub.Deliver(msg)
		m.loop.drain()
	case 4:
		<-time.After(time.Second)
	case 5:
		// What a closing connection sends is not read.
		if m.Len() > 0 && m.conn.state == stateOpen {
			msg := m.sent[m.IntN(len(m.sent))]
			m.conn.ackLocked([]message.ID{msg.ID})
			m.acked[msg.ID] = m.acked[msg.ID] || m.out(msg)
		}
	case 6:
		if m.IntN(60) == 0 && m.conn.state == stateOpen {
			m.conn.fallBehindLocked()
			m.loop.flushLocked()
		}
	default:
		m.socket.room += m.IntN(70)
		m.conn.Writable()
	}
}

// Len counts what was sent.
func (m *trailModel) Len() int { return len(m.sent) }

// out reports whether a message is out to its last byte.
func (m *trailModel) out(msg *message.Message) bool {
	return bytes.Contains(m.socket.out.Bytes(), frame.Text(msg.Payload).Bytes())
}

// finish ends the connection and looks at all reports.
func (m *trailModel) finish(t *testing.T, seed uint64) {
	t.Helper()
	now := time.Now()
	m.conn.Closed(nil)
	var outcomes message.Counts
	for i, msg := range m.sent {
		r, ok := m.reports[msg.ReportTo]
		if ok != (msg.Receipt.Level != message.LevelNone) {
			t.Fatalf("seed %d: message %d of level %d, reported: %v", seed, i, msg.Receipt.Level, ok)
		}
		if !ok || r.Counts == (message.Counts{}) {
			continue // after the close
		}
		got := message.Outcome(slices.Index(r.Counts[:], 1))
		outcomes[got]++
		var want bool
		switch got {
		case message.OutcomeQueued:
			want = msg.Receipt.Level == message.LevelQueued
		case message.OutcomeWritten:
			want = m.out(msg) && !m.acked[msg.ID]
		case message.OutcomeAcked:
			want = m.out(msg) && m.acked[msg.ID] && msg.Receipt.Level == message.LevelAcked
		case message.OutcomeExpired:
			want = !m.out(msg) && !msg.Deadline.IsZero() && now.After(msg.Deadline)
		case message.OutcomeSlow:
			want = !m.out(msg) && m.conn.state >= stateClosing
		case message.OutcomeGone:
			want = !m.out(msg)
		default:
		}
		// Who is not asked to acknowledge is written, whatever it acknowledges.
		if got == message.OutcomeWritten && msg.Receipt.Level == message.LevelWritten {
			want = m.out(msg)
		}
		if !want {
			t.Fatalf("seed %d: message %d of level %d is %v, out: %v, acked: %v", seed, i, msg.Receipt.Level, r.Counts, m.out(msg), m.acked[msg.ID])
		}
	}
	m.total = outcomes
	if m.hub.receipts.tracked.Load() != 0 || len(m.hub.receipts.open) != 0 || m.conn.seldom != nil {
		t.Fatalf("seed %d: something is left", seed)
	}
}

// TestNodeIsBounded: over its bounds a node follows nothing more, and says so
// where it can.
func TestNodeIsBounded(t *testing.T) {
	m := newTrailModel(rand.New(rand.NewPCG(1, 1)))
	deliver := func() *message.Message {
		id := message.NewID()
		msg := &message.Message{
			ID: id, Target: address.AllTarget(), Payload: []byte("{}"), ReportTo: id.String(),
			Receipt: message.ReceiptRequest{Level: message.LevelWritten, Timeout: time.Hour},
		}
		m.hub.Deliver(msg)
		m.loop.drain()
		return msg
	}
	m.hub.receipts.tracked.Store(maxTracked)
	msg := deliver()
	if r := m.reports[msg.ReportTo]; !r.Final || r.Counts != (message.Counts{message.OutcomeOverloaded: 1}) {
		t.Errorf("too many deliveries: %+v", r)
	}
	if got := m.hub.receipts.tracked.Load(); got != maxTracked || m.conn.seldom != nil {
		t.Errorf("%d are tracked", got)
	}
	m.hub.receipts.tracked.Store(0)
	for len(m.hub.receipts.open) < maxOpenReceipts {
		m.hub.receipts.add(&receipt{})
	}
	msg = deliver()
	if _, ok := m.reports[msg.ReportTo]; ok || m.conn.seldom != nil {
		t.Error("too many receipts: one more is followed")
	}
	clear(m.hub.receipts.open)
	m.socket.room = 1 << 20
	m.conn.Writable()
	msg = deliver()
	if r := m.reports[msg.ReportTo]; r.Counts != (message.Counts{message.OutcomeWritten: 1}) {
		t.Errorf("with room again: %+v", r)
	}
}

// TestNothingIsPaidWithoutReceipt: a delivery without one allocates nothing, and
// leaves nothing at the connection.
func TestNothingIsPaidWithoutReceipt(t *testing.T) {
	m := newTrailModel(rand.New(rand.NewPCG(1, 1)))
	m.socket.room = 1 << 30
	m.socket.out.Grow(1 << 20)
	msg := &message.Message{ID: message.NewID(), Target: address.AllTarget(), Payload: []byte("{}")}
	m.hub.Deliver(msg)
	m.loop.drain()
	d := m.hub.delivery(newEvent(msg))
	if n := testing.AllocsPerRun(100, func() { m.loop.put(&d); m.loop.drain() }); n > 0 {
		t.Errorf("%g allocations", n)
	}
	if m.conn.seldom != nil {
		t.Error("a connection without receipts holds something for them")
	}
}
