package control

import (
	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/message"
)

// receiptAnswer returns what the caller is told about r; nil for nil.
func receiptAnswer(r *message.Receipt) *pushdv1.Receipt {
	if r == nil {
		return nil
	}
	out := &pushdv1.Receipt{
		Complete:      r.Complete(),
		Counts:        receiptCounts(&r.Counts),
		NodesAsked:    count(r.Asked),
		NodesAnswered: count(r.Answered),
		MissingNodes:  r.Missing,
	}
	for _, row := range r.Rows {
		out.Connections = append(out.Connections, &pushdv1.ReceiptRow{
			ConnectionId: row.Connection.String(), Node: row.Node, Outcome: receiptOutcome(row.Outcome),
		})
	}
	return out
}

func receiptCounts(c *message.Counts) *pushdv1.ReceiptCounts {
	return &pushdv1.ReceiptCounts{
		Queued:   c[message.OutcomeQueued],
		Written:  c[message.OutcomeWritten],
		Acked:    c[message.OutcomeAcked],
		Excluded: c[message.OutcomeExcluded],
		Expired:  c[message.OutcomeExpired],
		Dropped: &pushdv1.ReceiptDrops{
			SlowConsumer: c[message.OutcomeSlow],
			Gone:         c[message.OutcomeGone],
			Overloaded:   c[message.OutcomeOverloaded],
		},
		Unknown: c[message.OutcomeUnknown],
	}
}

// receiptOutcome never makes a success of what it does not know.
func receiptOutcome(o message.Outcome) pushdv1.ReceiptOutcome {
	switch o {
	case message.OutcomeQueued:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_QUEUED
	case message.OutcomeWritten:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_WRITTEN
	case message.OutcomeAcked:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_ACKED
	case message.OutcomeExcluded:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_EXCLUDED
	case message.OutcomeExpired:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_EXPIRED
	case message.OutcomeSlow:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_SLOW_CONSUMER
	case message.OutcomeGone:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_GONE
	case message.OutcomeOverloaded:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_OVERLOADED
	default:
		return pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_UNSPECIFIED
	}
}

// count returns n, which is a number of nodes, as the protocol has it.
func count(n int) uint32 {
	return uint32(n) //nolint:gosec // A cluster has far fewer nodes than that.
}
