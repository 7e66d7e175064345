package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

func (f *sendFlags) print(w io.Writer, answer sent) error {
	text := sentText(answer)
	if f.output == outputJSON {
		var err error
		if text, err = answerLine(answer); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	return nil
}

// sentText lays an answer out for people.
func sentText(a outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "accepted %s\n", printable(a.GetMessageId()))
	if a.GetDuplicate() {
		b.WriteString("sent before with this key, not again now\n")
	}
	if a.GetOffset() != "" {
		fmt.Fprintf(&b, "stored at offset %s of epoch %s\n", printable(a.GetOffset()), printable(a.GetEpoch()))
	}
	if r := a.GetReceipt(); r != nil {
		writeReceipt(&b, r)
	}
	return b.String()
}

func writeReceipt(b *strings.Builder, r *pushdv1.Receipt) {
	fmt.Fprintf(b, "connections: %s\n", receiptCounts(r.GetCounts()))
	fmt.Fprintf(b, "nodes: %d of %d answered", r.GetNodesAnswered(), r.GetNodesAsked())
	if missing := r.GetMissingNodes(); len(missing) > 0 {
		fmt.Fprintf(b, ", not %s", printable(strings.Join(missing, ", ")))
	}
	b.WriteByte('\n')
	if !r.GetComplete() {
		b.WriteString("incomplete: not all was heard of in time\n")
	}
	if len(r.GetConnections()) == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row(w, "\nCONNECTION", "NODE", "OUTCOME")
	for _, c := range r.GetConnections() {
		row(w, c.GetConnectionId(), c.GetNode(), outcomeName(c.GetOutcome()))
	}
	_ = w.Flush() // a strings.Builder takes everything
}

// receiptCounts lists what is not zero.
func receiptCounts(c *pushdv1.ReceiptCounts) string {
	var parts []string
	for _, x := range []struct {
		n    uint64
		name string
	}{
		{c.GetAcked(), "acked"},
		{c.GetWritten(), "written"},
		{c.GetQueued(), "queued"},
		{c.GetExcluded(), "excluded"},
		{c.GetExpired(), "expired"},
		{c.GetDropped().GetSlowConsumer(), "slow consumers"},
		{c.GetDropped().GetGone(), "gone"},
		{c.GetDropped().GetOverloaded(), "dropped by an overloaded node"},
		{c.GetUnknown(), "unknown"},
	} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.name))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func outcomeName(o pushdv1.ReceiptOutcome) string {
	if o == pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_UNSPECIFIED {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(o.String(), "RECEIPT_OUTCOME_"))
}
