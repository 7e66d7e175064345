package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// maxReceipts bounds the receipts that are waited for at once.
	maxReceipts = 4096
	// receiptWait is how long reports are waited for unless the publisher says,
	// and maxReceiptWait how long at most.
	receiptWait    = time.Second
	maxReceiptWait = 30 * time.Second
	// headStart is the most that nodes are told to report before the wait ends, so
	// that what they say at their end of it still counts.
	headStart = 100 * time.Millisecond
)

// receiptID reports whether a reply subject's id is a receipt's: those are odd.
// The others, of questions, are even. Each run of a node begins anywhere, so
// that an answer to an earlier run meets nothing.
func receiptID(id uint64) bool { return id%2 == 1 }

// receipts waits for what became of published messages.
//
// The message itself goes only to the nodes that have interest in its target,
// and each of them reports. Just before it, a question goes to every node: who
// has no receiver answers, with nothing, and who has one leaves the answer to
// its edge. So each node that lives is heard of once the message is through,
// and one message is still one delivery per interested node.
//
// A node that answered with nothing and then gets the message all the same,
// for somebody joined between the two, reports again; the later report holds.
type receipts struct {
	// Set once.
	self    identity
	sealer  sealer
	out     outlet
	roster  *roster
	holds   func(address.Target) bool
	every   time.Duration // looks at who has died
	metrics *metrics
	stop    chan struct{} // closed by close

	// Guarded by mu.
	mu     sync.Mutex
	next   uint64 // odd
	calls  map[uint64]*receiptCall
	closed bool
}

// receiptCall is one receipt that is waited for.
type receiptCall struct {
	// Set once.
	user bool          // its rows are wanted
	done chan struct{} // closed when waiting is empty

	// Guarded by receipts.mu.
	asked   map[string]uint64 // incarnation by node
	waiting map[string]struct{}
	answers map[string]message.NodeReport
}

func newReceipts(
	self identity, out outlet, known *roster, holds func(address.Target) bool, o Options, m *metrics,
) *receipts {
	return &receipts{
		self: self, sealer: sealer{self: self}, out: out, roster: known, holds: holds, every: o.HeartbeatInterval, metrics: m,
		stop:  make(chan struct{}),
		next:  self.incarnation | 1,
		calls: make(map[uint64]*receiptCall),
	}
}

// publish publishes m by send and waits for the reports. See Router.Publish.
func (x *receipts) publish(
	ctx context.Context, m *message.Message, send func(context.Context, *message.Message) (message.Accepted, error),
) (message.Accepted, error) {
	id, call, err := x.open(m.Target)
	if err != nil {
		return message.Accepted{}, err
	}
	defer x.hangUp(id)
	wait := min(cmp.Or(max(0, m.Receipt.Timeout), receiptWait), maxReceiptWait)
	asking := *m
	asking.ReportTo = replySubject(x.self.node, id)
	asking.Receipt.Timeout = wait - min(wait/4, headStart)
	if err := x.ask(call, &asking); err != nil {
		return message.Accepted{}, err
	}
	accepted, err := send(ctx, &asking)
	if err != nil || accepted.Duplicate {
		return accepted, err
	}
	x.await(ctx, call, wait)
	accepted.Receipt = x.sum(call)
	return accepted, nil
}

// open begins a receipt. Nodes that don't answer now are not waited for.
func (x *receipts) open(t address.Target) (uint64, *receiptCall, error) {
	others := x.roster.census()
	call := &receiptCall{
		user:    t.Kind() == address.KindUser,
		done:    make(chan struct{}),
		asked:   map[string]uint64{x.self.node: x.self.incarnation},
		waiting: map[string]struct{}{x.self.node: {}},
		answers: make(map[string]message.NodeReport),
	}
	for name, m := range others {
		call.asked[name] = m.incarnation
		if m.answers {
			call.waiting[name] = struct{}{}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return 0, nil, fmt.Errorf("receipt: %w", message.ErrUnavailable)
	case len(x.calls) >= maxReceipts:
		return 0, nil, fmt.Errorf("receipt: %w", message.ErrOverloaded)
	}
	x.next += 2
	x.calls[x.next] = call
	return x.next, call, nil
}

// ask puts the question to every node. The own one is asked without NATS.
func (x *receipts) ask(call *receiptCall, m *message.Message) error {
	if !x.holds(m.Target) {
		_, id, _ := parseReplySubject(m.ReportTo)
		x.note(id, x.self.node, x.self.incarnation, message.NodeReport{Final: true})
	}
	if len(call.asked) == 1 {
		return nil
	}
	data, err := x.sealer.seal(&message.Message{Target: m.Target, ReportTo: m.ReportTo}, nil)
	if err != nil {
		return err
	}
	// An error says that NATS is away: then nobody is asked, and the message can't
	// be published either.
	if err := x.out.publish(subjectInterest, data); err != nil {
		return fmt.Errorf("receipt: %w: %w", message.ErrUnavailable, err)
	}
	return nil
}

// await returns when all have answered who may, or the time is over.
func (x *receipts) await(ctx context.Context, call *receiptCall, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	ticker := time.NewTicker(x.every)
	defer ticker.Stop()
	for {
		select {
		case <-call.done:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-x.stop:
			return
		case <-ticker.C:
			x.giveUp(call)
		}
	}
}

// giveUp waits no longer for nodes that have died, left or begun anew.
func (x *receipts) giveUp(call *receiptCall) {
	now := x.roster.census()
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range call.waiting {
		if name == x.self.node {
			continue
		}
		if m, ok := now[name]; !ok || m.dead || m.incarnation != call.asked[name] {
			call.settleLocked(name)
		}
	}
}

// settleLocked waits for a node no longer.
func (c *receiptCall) settleLocked(node string) {
	if _, ok := c.waiting[node]; !ok {
		return
	}
	delete(c.waiting, node)
	if len(c.waiting) == 0 {
		close(c.done)
	}
}

// sum makes the receipt of what was heard. Who has said nothing final is
// missing.
func (x *receipts) sum(call *receiptCall) *message.Receipt {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := &message.Receipt{Asked: len(call.asked)}
	for name := range call.asked {
		r := call.answers[name]
		if r.Final {
			sum.Answered++
		} else {
			sum.Missing = append(sum.Missing, name)
		}
		for outcome, n := range r.Counts {
			sum.Counts[outcome] += n
		}
		for _, row := range r.Rows {
			row.Node = name
			sum.Rows = append(sum.Rows, row)
		}
	}
	slices.Sort(sum.Missing)
	slices.SortFunc(sum.Rows, func(a, b message.ReceiptRow) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), slices.Compare(a.Connection[:], b.Connection[:]))
	})
	return sum
}

func (x *receipts) hangUp(id uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.calls, id)
}

// close ends all waits: later calls fail.
func (x *receipts) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.closed {
		x.closed = true
		close(x.stop)
	}
}

// take takes a report that came from another node.
func (x *receipts) take(id uint64, data []byte) {
	node, incarnation, r, ok := parseDelivery(data)
	// The own node does not report over NATS.
	if !ok || node == x.self.node || !x.roster.knows(node, incarnation) {
		x.metrics.dropReport(reportForged)
		return
	}
	x.note(id, node, incarnation, r)
}

// note notes a report. A later one of the same run of a node replaces an
// earlier, unless that was final and this one is not. It never blocks.
func (x *receipts) note(id uint64, node string, incarnation uint64, r message.NodeReport) {
	x.mu.Lock()
	defer x.mu.Unlock()
	call := x.calls[id]
	if call == nil {
		x.metrics.dropReport(reportLate)
		return
	}
	before, heard := call.answers[node]
	asked, known := call.asked[node]
	switch {
	case known && asked != incarnation, !call.user && len(r.Rows) > 0:
		x.metrics.dropReport(reportForged)
		return
	case heard && (before.Final && !r.Final || before.Final == r.Final && before.Counts == r.Counts):
		x.metrics.dropReport(reportDuplicate)
		return
	}
	// Who joined meanwhile may have receivers too.
	call.asked[node] = incarnation
	call.answers[node] = r
	if r.Final {
		call.settleLocked(node)
	}
}
