package cluster

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// maxReported bounds the connections of one report: more than a node can
	// hold.
	maxReported = 1 << 28
	// maxRows bounds the rows of one report: the connections of a user.
	maxRows = 4096
)

// Report sends r to the node that waits for it: to is Message.ReportTo. It
// never blocks, and gives the report up when the queue of the publisher is full
// or NATS is away: then this node is missing in the receipt.
func (r *Router) Report(to string, report message.NodeReport) {
	node, id, ok := parseReplySubject(to)
	if !ok || !receiptID(id) {
		r.metrics.dropReport(reportForged)
		return
	}
	if node == r.self.node {
		r.receipts.note(id, node, r.self.incarnation, report)
		return
	}
	data, err := r.self.delivery(report)
	if err == nil {
		err = r.pub.push(&outgoing{subject: to, data: data, deadline: time.Now().Add(r.opts.PublishTimeout)})
	}
	if err != nil {
		r.metrics.drop(dropUnavailable)
	}
}

// delivery writes a report.
func (id identity) delivery(r message.NodeReport) ([]byte, error) {
	w := &clusterv1.DeliveryReport{
		Node: id.node, Incarnation: id.incarnation, Counts: r.Counts[:], Final: r.Final,
	}
	for i := range r.Rows[:min(len(r.Rows), maxRows)] {
		row := &r.Rows[i]
		w.Rows = append(w.Rows, &clusterv1.DeliveryRow{Connection: row.Connection[:], Outcome: uint32(row.Outcome)})
	}
	data, err := proto.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return data, nil
}

// parseDelivery reads what delivery wrote. ok is false for what no node says:
// more connections than there can be, or rows that are not in the counts.
func parseDelivery(data []byte) (node string, incarnation uint64, r message.NodeReport, ok bool) {
	var w clusterv1.DeliveryReport
	if proto.Unmarshal(data, &w) != nil || !validNodeName(w.GetNode()) ||
		len(w.GetCounts()) > message.Outcomes || len(w.GetRows()) > maxRows {
		return "", 0, r, false
	}
	sum := uint64(0)
	for outcome, n := range w.GetCounts() {
		if n > maxReported {
			return "", 0, r, false
		}
		r.Counts[outcome] = n
		sum += n
	}
	r.Rows, ok = parseRows(w.GetRows(), r.Counts)
	r.Final = w.GetFinal()
	return w.GetNode(), w.GetIncarnation(), r, ok && sum <= maxReported
}

// parseRows reads the rows of a report. ok is false if they are not all in the
// counts.
func parseRows(wire []*clusterv1.DeliveryRow, counts message.Counts) (rows []message.ReceiptRow, ok bool) {
	left := counts[:]
	for _, w := range wire {
		outcome := int(w.GetOutcome())
		if outcome >= len(left) || left[outcome] == 0 || len(w.GetConnection()) != len(message.ID{}) {
			return nil, false
		}
		left[outcome]--
		rows = append(rows, message.ReceiptRow{
			Connection: message.ID(w.GetConnection()), Outcome: message.Outcome(outcome), //nolint:gosec // It is an index.
		})
	}
	return rows, true
}

// interested answers another node's question who has a receiver of a target.
// Who has one says nothing: its edge reports when the message has come. It
// reports false for what no node asks.
func (t *talk) interested(data []byte) bool {
	var e clusterv1.Envelope
	if proto.Unmarshal(data, &e) != nil || e.GetVersion() != envelopeVersion {
		return false
	}
	target, err := wireTarget(&e)
	if err != nil {
		return false
	}
	node, id, ok := parseReplySubject(e.GetReportTo())
	if !ok || !receiptID(id) {
		return false
	}
	if node == t.self.node || t.holds(target) {
		return true
	}
	answer, err := t.self.delivery(message.NodeReport{Final: true})
	if err == nil {
		err = t.out.publish(e.GetReportTo(), answer)
	}
	if err != nil {
		t.log.Warn("a receipt of another node was not answered", "error", err)
	}
	return true
}
