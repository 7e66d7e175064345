package edge

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// maxOpenReceipts bounds the messages whose outcome is waited for here. Of one
	// more nothing is reported, so that this node is missing in its receipt.
	maxOpenReceipts = 16384
	// maxTracked bounds the deliveries whose outcome is waited for, and
	// maxTrackedByConn those of one connection. What is more is delivered all the
	// same, but its outcome is message.OutcomeOverloaded.
	maxTracked       = 65536
	maxTrackedByConn = 256
)

// openReceipts holds the receipts that are not reported yet. Its mutex is taken
// under that of a receipt, with nothing under it.
type openReceipts struct {
	// tracked counts the deliveries of open receipts whose outcome may change.
	tracked atomic.Int64

	mu   sync.Mutex
	open map[*receipt]struct{}
}

// add reports false when there are too many.
func (o *openReceipts) add(r *receipt) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) >= maxOpenReceipts {
		return false
	}
	if o.open == nil {
		o.open = make(map[*receipt]struct{})
	}
	o.open[r] = struct{}{}
	return true
}

func (o *openReceipts) remove(r *receipt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, r)
}

// take counts one delivery in, and reports false when there are too many.
func (o *openReceipts) take() bool {
	if o.tracked.Add(1) <= maxTracked {
		return true
	}
	o.tracked.Add(-1)
	return false
}

// close gives up what is open, unreported. When it returns no timer of a
// receipt does anything any more.
func (o *openReceipts) close() {
	o.mu.Lock()
	var all []*receipt
	for r := range o.open {
		all = append(all, r)
	}
	o.mu.Unlock()
	for _, r := range all {
		r.giveUp()
	}
}

// receipt is what becomes of one message on this node. It is reported once: when
// every loop has fanned the message out and no outcome can change any more, or
// when the publisher's time is over. Its mutex is taken under a loop's.
type receipt struct {
	// set once
	hub      *Hub
	id       message.ID
	to       string
	level    message.Level
	reporter Reporter
	// user says that the report has a row per connection.
	user bool
	// done is written with mu held.
	done atomic.Bool

	// guarded by mu
	mu    sync.Mutex
	timer *time.Timer
	// loops have not fanned out yet.
	loops int
	// open counts the deliveries whose outcome may change.
	open   int
	report message.NodeReport
}

// openReceipt begins the receipt of m, which the loops in mask will fan out. It
// returns nil when there is nothing to follow.
func (h *Hub) openReceipt(m *message.Message, mask uint64) *receipt {
	if m.Receipt.Level == message.LevelNone || m.ReportTo == "" {
		return nil
	}
	reporter := h.reporter.Load()
	if reporter == nil {
		return nil
	}
	if mask == 0 {
		(*reporter).Report(m.ReportTo, message.NodeReport{Final: true})
		return nil
	}
	r := &receipt{
		hub:      h,
		id:       m.ID,
		to:       m.ReportTo,
		level:    m.Receipt.Level,
		reporter: *reporter,
		user:     m.Target.Kind() == address.KindUser,
		loops:    bits.OnesCount64(mask),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !h.receipts.add(r) {
		return nil
	}
	r.timer = time.AfterFunc(m.Receipt.Timeout, r.expire)
	return r
}

// expire reports what is known when the time is over. Loops that have not fanned
// out may hold receivers, so without them the report is not final.
func (r *receipt) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done.Load() {
		r.endLocked()
		r.report.Final = r.loops == 0
		r.reporter.Report(r.to, r.report)
	}
}

// giveUp ends r without a report.
func (r *receipt) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done.Load() {
		r.endLocked()
	}
}

func (r *receipt) endLocked() {
	r.done.Store(true)
	r.timer.Stop()
	r.hub.receipts.remove(r)
	r.hub.receipts.tracked.Add(-int64(r.open))
}

// checkLocked reports once nothing can change.
func (r *receipt) checkLocked() {
	if r.loops == 0 && r.open == 0 {
		r.endLocked()
		r.report.Final = true
		r.reporter.Report(r.to, r.report)
	}
}

// fannedOut says that one loop has queued the message at its members.
func (r *receipt) fannedOut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loops--
	if !r.done.Load() {
		r.checkLocked()
	}
}

// settle notes the outcome at a connection, which will not change. It is called
// before fannedOut.
func (r *receipt) settle(c message.ID, outcome message.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done.Load() {
		r.noteLocked(c, outcome)
	}
}

// follow notes that c has the message in its queue, and returns the mark by
// which the outcome can be changed. ok is false when it can't: then r is over,
// or the node has too many, which is noted.
func (r *receipt) follow(c message.ID) (m mark, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done.Load() {
		return mark{}, false
	}
	if !r.hub.receipts.take() {
		r.noteLocked(c, message.OutcomeOverloaded)
		return mark{}, false
	}
	r.open++
	return mark{receipt: r, row: r.noteLocked(c, message.OutcomeQueued)}, true
}

// noteLocked counts a connection and returns its row, or -1.
func (r *receipt) noteLocked(c message.ID, outcome message.Outcome) (row int) {
	r.report.Counts[outcome]++
	if !r.user {
		return -1
	}
	r.report.Rows = append(r.report.Rows, message.ReceiptRow{Connection: c, Outcome: outcome})
	return len(r.report.Rows) - 1
}

// mark is the place of a receipt on a connection's trail.
type mark struct {
	receipt *receipt
	// row is that of the connection, or -1.
	row int
	// at counts the frames of the outbox up to the message, from the start of the
	// trail.
	at int
}

// move changes the outcome; final says that it will not change again.
func (m mark) move(from, to message.Outcome, final bool) {
	r := m.receipt
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done.Load() {
		return
	}
	r.report.Counts[from]--
	r.report.Counts[to]++
	if m.row >= 0 {
		r.report.Rows[m.row].Outcome = to
	}
	if final {
		r.open--
		r.hub.receipts.tracked.Add(-1)
		r.checkLocked()
	}
}
