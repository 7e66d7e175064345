package edge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

func (b *fakeBus) Report(to string, r message.NodeReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Rows = slices.Clone(r.Rows)
	b.reports[to] = append(b.reports[to], r)
}

// reported returns what was reported to an address, once that is something.
func (b *fakeBus) reported(t *testing.T, to string) message.NodeReport {
	t.Helper()
	var all []message.NodeReport
	eventually(t, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if all = b.reports[to]; len(all) == 0 {
			return errors.New("no report")
		}
		return nil
	})
	if len(all) > 1 {
		t.Fatalf("%d reports", len(all))
	}
	return all[0]
}

func (b *fakeBus) isReported(to string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.reports[to]) > 0
}

// tracked makes a message with a receipt.
func tracked(t address.Target, level message.Level, timeout time.Duration) *message.Message {
	m := &message.Message{
		ID: message.NewID(), Target: t, Payload: []byte(`{"type":"x"}`),
		Receipt: message.ReceiptRequest{Level: level, Timeout: timeout},
	}
	m.ReportTo = m.ID.String()
	return m
}

// counts makes what is reported of these outcomes.
func counts(outcomes ...message.Outcome) (c message.Counts) {
	for _, o := range outcomes {
		c[o]++
	}
	return c
}

// wantReport wants these rows, by connection, and counts that fit.
func wantReport(t *testing.T, got message.NodeReport, want map[string]message.Outcome) {
	t.Helper()
	rows, sum := make(map[string]message.Outcome), message.Counts{}
	for _, r := range got.Rows {
		rows[r.Connection.String()] = r.Outcome
		sum[r.Outcome]++
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) || sum != got.Counts || !got.Final {
		t.Errorf("got %v, %v, final %v; want %v", rows, got.Counts, got.Final, want)
	}
}

// nothingTracked wants that no receipt has left anything behind.
func (e *env) nothingTracked(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if deliveries, receipts, marks := e.hub.Tracked(); deliveries != 0 || receipts != 0 || marks != 0 {
			return fmt.Errorf("%d deliveries, %d receipts, %d marks are tracked", deliveries, receipts, marks)
		}
		return nil
	})
}

// roomy lets a connection be behind by a lot.
func roomy(o *edge.Options) { o.OutboundQueueBytes = 1 << 30 }

// TestReceiptOfThreeDevices: one reads and acknowledges, one reads nothing, one
// goes with the message in its queue. The receipt says that, in its time.
func TestReceiptOfThreeDevices(t *testing.T) {
	onEachDriver(t, roomy, func(t *testing.T, e *env) {
		ann := userTarget("acme", "ann")
		reads, stalled, gone := e.dial(t, who{user: "ann"}), e.dial(t, who{user: "ann"}).narrow(), e.dial(t, who{user: "ann"}).narrow()
		stalled.join(room)
		gone.join(room)
		e.clog(channelTarget("acme", room), 100)

		m := tracked(ann, message.LevelAcked, time.Hour)
		e.hub.Deliver(m)
		reads.expect("x")
		e.hub.Ack(reads.ID, m.ID)
		// What is not out can't be acknowledged.
		e.hub.Ack(stalled.ID, m.ID)
		gone.hangUp()
		e.awaitConnections(t, 2)
		if e.bus.isReported(m.ReportTo) {
			t.Error("reported with an outcome open")
		}
		e.hub.ExpireReceipts()
		got := e.bus.reported(t, m.ReportTo)
		wantReport(t, got, map[string]message.Outcome{
			reads.ID: message.OutcomeAcked, stalled.ID: message.OutcomeQueued, gone.ID: message.OutcomeGone,
		})
		// The one that was stalled gets the message all the same.
		for range 100 {
			stalled.expect("x")
		}
		stalled.expectText(`{"type":"x"}`)
		e.nothingTracked(t)
	})
}

// TestReceiptLevels is what each level says of a client that reads, and whether
// it has to wait for the end of the time.
func TestReceiptLevels(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		c.join(room)
		for _, target := range []address.Target{
			address.AllTarget(), tenantTarget("acme"), userTarget("acme", "ann"), channelTarget("acme", room),
		} {
			for _, level := range []struct {
				level message.Level
				ack   bool
				want  message.Outcome
			}{
				{message.LevelQueued, false, message.OutcomeQueued},
				{message.LevelWritten, false, message.OutcomeWritten},
				{message.LevelAcked, true, message.OutcomeAcked},
				{message.LevelAcked, false, message.OutcomeWritten}, // the time is over
			} {
				m := tracked(target, level.level, time.Hour)
				e.hub.Deliver(m)
				c.expect("x")
				if level.level == message.LevelAcked && !level.ack {
					c.quiet() // that it was written is noted by now
					e.hub.ExpireReceipts()
				}
				if level.ack {
					e.hub.Ack(c.ID, message.NewID(), m.ID, m.ID)
					e.hub.Ack(c.ID, m.ID)
				}
				got := e.bus.reported(t, m.ReportTo)
				if got.Counts != counts(level.want) || !got.Final {
					t.Errorf("%v, level %d: %+v", target, level.level, got)
				}
				if rows := target.Kind() == address.KindUser; rows != (len(got.Rows) == 1) {
					t.Errorf("%v: rows %v", target, got.Rows)
				}
			}
		}
		// Nobody is there; nothing is asked for; nobody is to be told.
		m := tracked(userTarget("acme", "bob"), message.LevelAcked, time.Hour)
		e.hub.Deliver(m)
		if got := e.bus.reported(t, m.ReportTo); got.Counts != counts() || !got.Final {
			t.Errorf("nobody: %+v", got)
		}
		m = tracked(address.AllTarget(), message.LevelNone, time.Hour)
		e.hub.Deliver(m)
		nobody := tracked(address.AllTarget(), message.LevelQueued, time.Hour)
		nobody.ReportTo = ""
		e.hub.Deliver(nobody)
		c.expect("x")
		c.expect("x")
		if e.bus.isReported(m.ReportTo) || e.bus.isReported("") {
			t.Error("reported what nobody asked for")
		}
		// The marks of what was never acknowledged go with the next receipt.
		m = tracked(address.AllTarget(), message.LevelWritten, time.Hour)
		e.hub.Deliver(m)
		c.expect("x")
		e.bus.reported(t, m.ReportTo)
		e.nothingTracked(t)
	})
}

// TestReceiptOfThoseLeftOut: exclusion, filter and deadline.
func TestReceiptOfThoseLeftOut(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		ann := userTarget("acme", "ann")
		plain, orders := e.dial(t, who{user: "ann"}), e.dial(t, who{user: "ann"})
		orders.send(request("subscribe_notifications", `"types":["order"]`))
		orders.expect("notifications_subscribed")
		for _, level := range []message.Level{message.LevelQueued, message.LevelWritten} {
			done := message.OutcomeQueued
			if level == message.LevelWritten {
				done = message.OutcomeWritten
			}
			report := func(change func(*message.Message)) message.NodeReport {
				m := tracked(ann, level, time.Hour)
				change(m)
				e.hub.Deliver(m)
				return e.bus.reported(t, m.ReportTo)
			}
			wantReport(t, report(func(m *message.Message) { m.Exclude = must(message.ParseID(plain.ID)) }),
				map[string]message.Outcome{plain.ID: message.OutcomeExcluded, orders.ID: done})
			wantReport(t, report(func(m *message.Message) { m.NotificationType = "news" }),
				map[string]message.Outcome{plain.ID: done, orders.ID: message.OutcomeExcluded})
			wantReport(t, report(func(m *message.Message) {
				m.NotificationType, m.Deadline = "news", time.Now().Add(-time.Second)
			}), map[string]message.Outcome{plain.ID: message.OutcomeExpired, orders.ID: message.OutcomeExcluded})
		}
		if got := e.metric(t, "pushd_edge_dropped_total", "expired"); got != 2 {
			t.Errorf("%g expired", got)
		}
		plain.expect("x")
		plain.expect("x")
		plain.quiet()
		e.nothingTracked(t)
	})
}

// TestReceiptOfSlowConsumer: one that can't take the message, and one that had
// it in its queue.
func TestReceiptOfSlowConsumer(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"}).narrow()
		ann := userTarget("acme", "ann")
		var all []*message.Message
		for e.metric(t, "pushd_edge_closed_total", "4101") == 0 {
			m := tracked(ann, message.LevelWritten, time.Hour)
			m.Payload = []byte(`{"type":"x","data":"` + strings.Repeat("x", 64<<10) + `"}`)
			all = append(all, m)
			e.hub.Deliver(m)
		}
		// Of one message a part may be out, which leaves it open.
		var reported []*message.Message
		eventually(t, func() error {
			reported = reported[:0]
			for _, m := range all {
				if e.bus.isReported(m.ReportTo) {
					reported = append(reported, m)
				}
			}
			if open := len(all) - len(reported); open > 1 {
				return fmt.Errorf("%d are open", open)
			}
			return nil
		})
		written, slow := 0, 0
		for _, m := range reported {
			got := e.bus.reported(t, m.ReportTo)
			switch got.Counts {
			case counts(message.OutcomeWritten):
				written++
			case counts(message.OutcomeSlow):
				slow++
			case counts(): // it came after the close
			default:
				t.Fatalf("%+v", got)
			}
		}
		if written == 0 || slow < 15 {
			t.Errorf("%d written, %d slow", written, slow)
		}
		c.hangUp()
		e.awaitConnections(t, 0)
		e.nothingTracked(t)
	})
}

// TestReceiptsAreBounded: more than 256 deliveries to a connection are not
// followed, but delivered.
func TestReceiptsAreBounded(t *testing.T) {
	const most, extra = 256, 10
	onEachDriver(t, roomy, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		var all []*message.Message
		for range most + extra {
			m := tracked(userTarget("acme", "ann"), message.LevelAcked, time.Hour)
			all = append(all, m)
			e.hub.Deliver(m)
		}
		for range most + extra {
			c.expect("x")
		}
		c.quiet()
		for i, m := range all {
			if e.bus.isReported(m.ReportTo) != (i >= most) {
				t.Fatalf("message %d", i)
			}
		}
		for _, m := range all[most:] {
			if got := e.bus.reported(t, m.ReportTo); got.Counts != counts(message.OutcomeOverloaded) {
				t.Errorf("%+v", got)
			}
		}
		// An acknowledgement makes room.
		e.hub.Ack(c.ID, all[0].ID)
		m := tracked(userTarget("acme", "ann"), message.LevelAcked, time.Hour)
		e.hub.Deliver(m)
		c.expect("x")
		e.hub.Ack(c.ID, m.ID)
		if got := e.bus.reported(t, m.ReportTo); got.Counts != counts(message.OutcomeAcked) {
			t.Errorf("%+v", got)
		}
		// What is written and not acknowledged stays written when the client goes.
		c.hangUp()
		if got := e.bus.reported(t, all[1].ReportTo); got.Counts != counts(message.OutcomeWritten) {
			t.Errorf("%+v", got)
		}
		e.awaitConnections(t, 0)
		e.nothingTracked(t)
	})
}

// TestExpiredInTheQueue: what waits for a client beyond its deadline is not
// written; what stands around it is.
func TestExpiredInTheQueue(t *testing.T) {
	const timeout = time.Second
	onEachDriver(t, roomy, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"}).narrow()
		ann := userTarget("acme", "ann")
		e.clog(ann, 100)
		var all []*message.Message
		for i := range 4 {
			m := tracked(ann, message.LevelWritten, time.Hour)
			m.Payload = fmt.Appendf(nil, `{"type":"%d"}`, i)
			switch i {
			case 0, 2:
				m.Deadline = time.Now().Add(timeout)
			case 1:
				// One that only bounds the way to the edge.
				m.Deadline, m.Transit = time.Now().Add(timeout), true
			}
			all = append(all, m)
			e.hub.Deliver(m)
		}
		eventually(t, func() error {
			if !time.Now().After(all[2].Deadline) {
				return errors.New("too early")
			}
			return nil
		})
		for range 100 {
			c.expect("x")
		}
		c.expectText(`{"type":"1"}`)
		c.expectText(`{"type":"3"}`)
		c.quiet()
		for i, want := range []message.Outcome{message.OutcomeExpired, message.OutcomeWritten, message.OutcomeExpired, message.OutcomeWritten} {
			if got := e.bus.reported(t, all[i].ReportTo); got.Counts != counts(want) {
				t.Errorf("message %d: %+v", i, got)
			}
		}
		if got := e.metric(t, "pushd_edge_dropped_total", "expired"); got != 2 {
			t.Errorf("%g expired", got)
		}
		e.nothingTracked(t)
	})
}

// TestReceiptWithoutFanOut: a loop that can't get on makes the report not final,
// and a hub that closes reports nothing.
func TestReceiptWithoutFanOut(t *testing.T) {
	e := newEnv(t, oneLoop)
	c := e.dial(t, who{user: "ann"})
	entered, leave := make(chan struct{}), make(chan struct{})
	e.bus.set(func(b *fakeBus) {
		b.hold = func(t address.Target) bool {
			if t == channelTarget("acme", room) {
				close(entered)
				<-leave
			}
			return false
		}
	})
	c.send(joinRoom("1"))
	<-entered
	const timeout = 50 * time.Millisecond
	m := tracked(userTarget("acme", "ann"), message.LevelQueued, timeout)
	began := time.Now()
	e.hub.Deliver(m)
	eventually(t, func() error {
		if e.hub.OpenReceipts() > 0 {
			return errors.New("open")
		}
		return nil
	})
	if took := time.Since(began); took < timeout {
		t.Errorf("given up after %s", took)
	}
	close(leave)
	c.expectID("channel_joined", "1")
	c.expect("x")
	if got := e.bus.reported(t, m.ReportTo); got.Final || got.Counts != counts() {
		t.Errorf("%+v", got)
	}
}
