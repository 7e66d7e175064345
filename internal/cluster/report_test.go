package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// testReceipts makes the receipts of node n1, which knows n2 and n3 as runs 2
// and 3 and holds no receivers.
func testReceipts(t *testing.T) *receipts {
	t.Helper()
	self := identity{node: "n1", incarnation: 1}
	o, m := DefaultOptions(), newMetrics(nil)
	known := newRoster(self, o, m, nil)
	for name, incarnation := range map[string]uint64{"n2": 2, "n3": 3} {
		if !known.hear(&clusterv1.Heartbeat{Node: name, Incarnation: incarnation}) {
			t.Fatal("a heartbeat was refused")
		}
	}
	return newReceipts(self, &slowOutlet{}, known, func(address.Target) bool { return false }, o, m)
}

// droppedReports returns how many were dropped for a reason.
func droppedReports(t *testing.T, x *receipts, reason string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(x.metrics.reportsDropped)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func userTargetOf(t *testing.T) address.Target { return mustTarget(t, address.KindUser, "acme", "ann") }

// writeReport makes the bytes of a report.
func writeReport(t *testing.T, r *clusterv1.DeliveryReport) []byte {
	t.Helper()
	data, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestForgedReports: what no node of the roster says changes nothing.
func TestForgedReports(t *testing.T) {
	id := message.NewID()
	row := func(outcome uint32, id []byte) []*clusterv1.DeliveryRow {
		return []*clusterv1.DeliveryRow{{Connection: id, Outcome: outcome}}
	}
	many := make([]*clusterv1.DeliveryRow, maxRows+1)
	for i := range many {
		many[i] = &clusterv1.DeliveryRow{Connection: id[:], Outcome: 1}
	}
	for _, c := range []struct {
		name   string
		report *clusterv1.DeliveryReport
	}{
		{"a node that nobody knows", &clusterv1.DeliveryReport{Node: "n4", Incarnation: 4}},
		{"another run of a node", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 9}},
		{"the own node", &clusterv1.DeliveryReport{Node: "n1", Incarnation: 1}},
		{"no name", &clusterv1.DeliveryReport{Incarnation: 2}},
		{"a name that is none", &clusterv1.DeliveryReport{Node: "n.>", Incarnation: 2}},
		{"an outcome that is none", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: make([]uint64, message.Outcomes+1)}},
		{"an absurd count", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, maxReported + 1}}},
		{"an absurd sum", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{1, maxReported}}},
		{"a sum that overflows", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, ^uint64(0), 2}}},
		{"a row that is not counted", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, 1}, Rows: row(2, id[:])}},
		{"a row of no outcome", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, 1}, Rows: row(99, id[:])}},
		{"a row of no connection", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, 1}, Rows: row(1, id[:9])}},
		{"too many rows", &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, maxRows + 1}, Rows: many}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := testReceipts(t)
			number, call, err := x.open(userTargetOf(t))
			if err != nil {
				t.Fatal(err)
			}
			c.report.Final = true
			x.take(number, writeReport(t, c.report))
			if droppedReports(t, x, reportForged) != 1 {
				t.Error("not counted")
			}
			if sum := x.sum(call); sum.Answered != 0 || sum.Asked != 3 || sum.Counts != (message.Counts{}) || len(sum.Rows) != 0 {
				t.Errorf("%+v", sum)
			}
		})
	}
	x := testReceipts(t)
	number, _, _ := x.open(address.AllTarget())
	x.take(number, []byte{0xff})
	x.take(number, writeReport(t, &clusterv1.DeliveryReport{Node: "n2", Incarnation: 2, Counts: []uint64{0, 1}, Rows: row(1, id[:])}))
	if droppedReports(t, x, reportForged) != 2 {
		t.Error("bytes that are no report, or rows of what is for no user, were taken")
	}
}

// TestReportsAreDeduplicated is what counts of several reports of one node.
func TestReportsAreDeduplicated(t *testing.T) {
	report := func(final bool, written uint64) message.NodeReport {
		return message.NodeReport{Final: final, Counts: message.Counts{message.OutcomeWritten: written}}
	}
	for _, c := range []struct {
		name     string
		reports  []message.NodeReport
		want     uint64
		answered int
		dropped  float64
	}{
		{"one", []message.NodeReport{report(true, 1)}, 1, 1, 0},
		{"twice", []message.NodeReport{report(true, 1), report(true, 1)}, 1, 1, 1},
		{"a later one", []message.NodeReport{report(true, 0), report(true, 2)}, 2, 1, 0},
		{"not final, then final", []message.NodeReport{report(false, 1), report(true, 1)}, 1, 1, 0},
		{"final, then not", []message.NodeReport{report(true, 2), report(false, 1)}, 2, 1, 1},
		{"not final", []message.NodeReport{report(false, 1), report(false, 3)}, 3, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := testReceipts(t)
			number, call, err := x.open(address.AllTarget())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c.reports {
				data, err := identity{node: "n2", incarnation: 2}.delivery(r)
				if err != nil {
					t.Fatal(err)
				}
				x.take(number, data)
			}
			sum := x.sum(call)
			if sum.Counts[message.OutcomeWritten] != c.want || sum.Answered != c.answered || sum.Asked != 3 {
				t.Errorf("%+v", sum)
			}
			if got := droppedReports(t, x, reportDuplicate); got != c.dropped {
				t.Errorf("%g dropped", got)
			}
			x.hangUp(number)
			x.note(number, "n2", 2, report(true, 1))
			x.note(number+2, "n2", 2, report(true, 1))
			if got := droppedReports(t, x, reportLate); got != 2 {
				t.Errorf("%g late", got)
			}
		})
	}
}

// TestNodeThatJoins: who was not asked and has the message is counted in.
func TestNodeThatJoins(t *testing.T) {
	x := testReceipts(t)
	number, call, err := x.open(address.AllTarget())
	if err != nil {
		t.Fatal(err)
	}
	x.roster.hear(&clusterv1.Heartbeat{Node: "n4", Incarnation: 4})
	data, err := identity{node: "n4", incarnation: 4}.delivery(message.NodeReport{
		Final: true, Counts: message.Counts{message.OutcomeQueued: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.take(number, data)
	if sum := x.sum(call); sum.Asked != 4 || sum.Answered != 1 || sum.Counts[message.OutcomeQueued] != 7 {
		t.Errorf("%+v", sum)
	}
}

// TestReceiptWaits: for the time that was asked for, or until nobody is left who
// may answer, or the caller goes.
func TestReceiptWaits(t *testing.T) {
	zero := message.NodeReport{Final: true}
	for _, c := range []struct {
		name    string
		timeout time.Duration
		then    func(x *receipts, id uint64, cancel context.CancelFunc)
		want    time.Duration
		missing []string
	}{
		{"nobody answers", 3 * time.Second, nil, 3 * time.Second, []string{"n2", "n3"}},
		{"no time is given", 0, nil, receiptWait, []string{"n2", "n3"}},
		{"too much time is given", time.Hour, func(x *receipts, _ uint64, _ context.CancelFunc) {
			// They beat for ever.
			beating := x.roster.now()
			x.roster.now = func() time.Time { return beating }
		}, maxReceiptWait, []string{"n2", "n3"}},
		{"they die", 20 * time.Second, nil, 6 * time.Second, []string{"n2", "n3"}},
		{"all answer", 20 * time.Second, func(x *receipts, id uint64, _ context.CancelFunc) {
			x.note(id, "n2", 2, zero)
			x.note(id, "n3", 3, zero)
		}, 0, nil},
		{"one begins anew", 20 * time.Second, func(x *receipts, id uint64, _ context.CancelFunc) {
			x.note(id, "n2", 2, zero)
			x.roster.hear(&clusterv1.Heartbeat{Node: "n3", Incarnation: 33})
			x.note(id, "n3", 33, zero)
		}, time.Second, []string{"n3"}},
		{"the caller goes", 20 * time.Second, func(_ *receipts, _ uint64, cancel context.CancelFunc) { cancel() }, 0, []string{"n2", "n3"}},
		{"the node goes", 20 * time.Second, func(x *receipts, _ uint64, _ context.CancelFunc) { x.close() }, 0, []string{"n2", "n3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := testReceipts(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := time.Now()
				m := &message.Message{
					Target: address.AllTarget(), Receipt: message.ReceiptRequest{Level: message.LevelQueued, Timeout: c.timeout},
				}
				got, err := x.publish(ctx, m, func(_ context.Context, m *message.Message) (message.Accepted, error) {
					_, id, ok := parseReplySubject(m.ReportTo)
					if !ok || !receiptID(id) || m.Receipt.Timeout <= 0 {
						t.Errorf("asked as %+v", m)
					}
					if c.then != nil {
						c.then(x, id, cancel)
					}
					return message.Accepted{}, nil
				})
				if err != nil || got.Receipt == nil {
					t.Fatalf("%+v, %v", got, err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("took %s, want %s", took, c.want)
				}
				if !slices.Equal(got.Receipt.Missing, c.missing) || got.Receipt.Answered != 3-len(c.missing) {
					t.Errorf("%+v", got.Receipt)
				}
				if len(x.calls) != 0 || m.ReportTo != "" {
					t.Errorf("%d calls stay, %+v", len(x.calls), m)
				}
			})
		})
	}
}

// TestNodesHaveLessTime: what a node says at the end of its time still counts.
func TestNodesHaveLessTime(t *testing.T) {
	for wait, want := range map[time.Duration]time.Duration{
		4 * time.Millisecond: 3 * time.Millisecond, 200 * time.Millisecond: 150 * time.Millisecond,
		0: 900 * time.Millisecond, -1: 900 * time.Millisecond, time.Second: 900 * time.Millisecond,
		30 * time.Second: 29900 * time.Millisecond, time.Hour: 29900 * time.Millisecond,
	} {
		m := &message.Message{
			Target: address.AllTarget(), Receipt: message.ReceiptRequest{Level: message.LevelQueued, Timeout: wait},
		}
		_, err := testReceipts(t).publish(t.Context(), m, func(_ context.Context, m *message.Message) (message.Accepted, error) {
			if m.Receipt.Timeout != want {
				t.Errorf("%s: nodes have %s, want %s", wait, m.Receipt.Timeout, want)
			}
			return message.Accepted{Duplicate: true}, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestHolds is when a node has a receiver: a member that was told so.
func TestHolds(t *testing.T) {
	target := userTargetOf(t)
	for _, c := range []struct {
		name  string
		entry *entry
		want  bool
	}{
		{"no entry", nil, false},
		{"a member", &entry{refs: 1, live: true}, true},
		{"interest that is not live yet", &entry{refs: 1}, false},
		{"interest that lingers", &entry{live: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.ListenAddr = "127.0.0.1:0"
			i := newInterest(nil, o, newMetrics(nil), nil)
			if c.entry != nil {
				i.entries[target] = c.entry
			}
			if got := i.holds(target); got != c.want {
				t.Errorf("got %v", got)
			}
			i.wide = true
			if !i.holds(target) {
				t.Error("a lone node gets everything")
			}
		})
	}
}

// TestReceiptsNotWaitedFor: what was not published, or before, and what is over
// the bound.
func TestReceiptsNotWaitedFor(t *testing.T) {
	x := testReceipts(t)
	m := &message.Message{
		Target: address.AllTarget(), Receipt: message.ReceiptRequest{Level: message.LevelQueued, Timeout: maxReceiptWait},
	}
	for name, c := range map[string]struct {
		accepted message.Accepted
		err      error
	}{
		"failed":    {message.Accepted{}, message.ErrUnavailable},
		"duplicate": {message.Accepted{ID: message.NewID(), Duplicate: true}, nil},
	} {
		got, err := x.publish(t.Context(), m, func(context.Context, *message.Message) (message.Accepted, error) {
			return c.accepted, c.err
		})
		if !errors.Is(err, c.err) || got != c.accepted {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for range maxReceipts {
		if _, _, err := x.open(address.AllTarget()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := x.publish(t.Context(), m, func(context.Context, *message.Message) (message.Accepted, error) {
		t.Error("published")
		return message.Accepted{}, nil
	})
	if !errors.Is(err, message.ErrOverloaded) {
		t.Errorf("over the bound: %v", err)
	}
}

// TestSuspectsAreNotWaitedFor: they are named at once, unless they answer.
func TestSuspectsAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := testReceipts(t)
		<-time.After((suspectAfter + 1) * x.every)
		x.roster.hear(&clusterv1.Heartbeat{Node: "n2", Incarnation: 2})
		began := time.Now()
		m := &message.Message{
			Target: address.AllTarget(), Receipt: message.ReceiptRequest{Level: message.LevelQueued, Timeout: time.Minute},
		}
		got, err := x.publish(t.Context(), m, func(_ context.Context, m *message.Message) (message.Accepted, error) {
			_, id, _ := parseReplySubject(m.ReportTo)
			x.note(id, "n2", 2, message.NodeReport{Final: true})
			return message.Accepted{}, nil
		})
		if err != nil || !slices.Equal(got.Receipt.Missing, []string{"n3"}) || got.Receipt.Asked != 3 || time.Since(began) != 0 {
			t.Errorf("%+v, %v, after %s", got.Receipt, err, time.Since(began))
		}
	})
}

// TestInterestQuestion: a node answers for itself when it holds no receiver, and
// nothing that no node asks.
func TestInterestQuestion(t *testing.T) {
	question := func(m *message.Message) []byte {
		data, err := (&sealer{self: identity{node: "n1"}}).seal(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ann := userTargetOf(t)
	for _, c := range []struct {
		name    string
		data    []byte
		holds   bool
		ok      bool
		answers int
	}{
		{"no receiver", question(&message.Message{Target: ann, ReportTo: "pd1.r.n1.7"}), false, true, 1},
		{"a receiver", question(&message.Message{Target: ann, ReportTo: "pd1.r.n1.7"}), true, true, 0},
		{"the own question", question(&message.Message{Target: ann, ReportTo: "pd1.r.n2.7"}), false, true, 0},
		{"to a question's id", question(&message.Message{Target: ann, ReportTo: "pd1.r.n1.8"}), false, false, 0},
		{"to no reply subject", question(&message.Message{Target: ann, ReportTo: "pd1.a"}), false, false, 0},
		{"for nobody", question(&message.Message{ReportTo: "pd1.r.n1.7"}), false, false, 0},
		{"no bytes", nil, false, false, 0},
		{"other bytes", []byte{0xff}, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := &slowOutlet{}
			k := &talk{self: identity{node: "n2"}, out: out, holds: func(target address.Target) bool {
				return c.holds && target == ann
			}}
			ok := k.handle(&nats.Msg{Subject: subjectInterest, Data: c.data})
			if ok != c.ok || out.published != c.answers {
				t.Errorf("taken %v, %d answers", ok, out.published)
			}
		})
	}
}

// TestRepliesAreToldApart: a receipt and a question have ids of their own kind,
// and each takes only its own replies, for this node.
func TestRepliesAreToldApart(t *testing.T) {
	x := testReceipts(t)
	g := &gatherer{next: 4, calls: make(map[uint64]chan report)}
	number, call, _ := x.open(address.AllTarget())
	asked, replies := g.open(1)
	if !receiptID(number) || receiptID(asked) {
		t.Fatalf("ids %d, %d", number, asked)
	}
	k := &talk{self: x.self, gather: g, reports: x}
	data, _ := identity{node: "n2", incarnation: 2}.delivery(message.NodeReport{Final: true, Counts: message.Counts{5}})
	figures := writeFigures(t)
	for subject, ok := range map[string]bool{
		replySubject("n1", number): true, replySubject("n1", number+2): true, replySubject("n2", number): false,
		replySubject("n1", asked+2): true, replySubject("n2", asked): false,
	} {
		body := figures
		if subject == replySubject("n1", number) {
			body = data
		}
		if got := k.handle(&nats.Msg{Subject: subject, Data: body}); got != ok {
			t.Errorf("%s: %v", subject, got)
		}
	}
	if len(replies) != 0 || x.sum(call).Counts[0] != 5 {
		t.Errorf("%d replies, %+v", len(replies), x.sum(call))
	}
	if k.handle(&nats.Msg{Subject: replySubject("n1", asked), Data: figures}); len(replies) != 1 {
		t.Error("the question has no reply")
	}
}

func writeFigures(t *testing.T) []byte {
	t.Helper()
	data, err := proto.Marshal(&clusterv1.StatsReport{Node: &clusterv1.Heartbeat{Node: "n2", Incarnation: 2}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
