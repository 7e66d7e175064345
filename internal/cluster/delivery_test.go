package cluster

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/message"
)

// FuzzParseDelivery: what is read is within its bounds, and is read again from
// what is written of it.
func FuzzParseDelivery(f *testing.F) {
	r := message.NodeReport{Final: true, Counts: message.Counts{0, 2, 1}}
	r.Rows = []message.ReceiptRow{{Outcome: 1}, {Outcome: 2}}
	for _, seed := range []message.NodeReport{{}, r} {
		data, err := identity{node: "n2", incarnation: 2}.delivery(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		node, incarnation, r, ok := parseDelivery(data)
		if !ok {
			return
		}
		sum := uint64(0)
		for _, n := range r.Counts {
			sum += n
		}
		if !validNodeName(node) || sum > maxReported || uint64(len(r.Rows)) > min(sum, maxRows) {
			t.Fatalf("read %q, %+v", node, r)
		}
		again, err := identity{node: node, incarnation: incarnation}.delivery(r)
		if err != nil {
			t.Fatal(err)
		}
		node2, incarnation2, r2, ok := parseDelivery(again)
		if !ok || node2 != node || incarnation2 != incarnation || r2.Counts != r.Counts || r2.Final != r.Final || !slices.Equal(r2.Rows, r.Rows) {
			t.Fatalf("read %+v, then %+v", r, r2)
		}
	})
}

// TestEnvelopeCarriesReceipt is what of a request goes over the wire.
func TestEnvelopeCarriesReceipt(t *testing.T) {
	seal := func(r message.ReceiptRequest, to string, change func(*clusterv1.Envelope)) (*message.Message, error) {
		m := testMessage("{}")
		m.Receipt, m.ReportTo = r, to
		data, err := (&sealer{self: identity{node: "n1"}}).seal(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		var e clusterv1.Envelope
		if err := proto.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		e.Deadline = 0
		if change != nil {
			change(&e)
		}
		if data, err = proto.Marshal(&e); err != nil {
			t.Fatal(err)
		}
		return openEnvelope("pd1.a", data, time.Now())
	}
	const to = "pd1.r.n1.7"
	for _, c := range []struct{ sent, want message.ReceiptRequest }{
		{message.ReceiptRequest{Level: message.LevelQueued, Timeout: time.Second}, message.ReceiptRequest{Level: message.LevelQueued, Timeout: time.Second}},
		{message.ReceiptRequest{Level: message.LevelAcked, Timeout: time.Hour}, message.ReceiptRequest{Level: message.LevelAcked, Timeout: maxReceiptWait}},
		{message.ReceiptRequest{Level: message.LevelWritten, Timeout: time.Microsecond}, message.ReceiptRequest{Level: message.LevelWritten, Timeout: time.Millisecond}},
		{message.ReceiptRequest{Timeout: time.Second}, message.ReceiptRequest{}},
	} {
		if m, err := seal(c.sent, to, nil); err != nil || m.Receipt != c.want || m.ReportTo != to {
			t.Errorf("%+v: %+v, %v", c.sent, m, err)
		}
	}
	if m, err := seal(message.ReceiptRequest{Level: message.LevelAcked}, "", nil); err != nil || m.Receipt != (message.ReceiptRequest{}) {
		t.Errorf("without a place to report to: %+v, %v", m, err)
	}
	for name, change := range map[string]func(*clusterv1.Envelope){
		"a level that is none":        func(e *clusterv1.Envelope) { e.ReceiptLevel = 4 },
		"a level below":               func(e *clusterv1.Envelope) { e.ReceiptLevel = -1 },
		"a level and nowhere to":      func(e *clusterv1.Envelope) { e.ReportTo = "" },
		"to a subject that is not so": func(e *clusterv1.Envelope) { e.ReportTo = "pd1.a" },
		"to many":                     func(e *clusterv1.Envelope) { e.ReportTo = "pd1.r.*.1" },
	} {
		if _, err := seal(message.ReceiptRequest{Level: message.LevelQueued, Timeout: time.Second}, to, change); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	past := func(e *clusterv1.Envelope) { e.Deadline = 1 }
	if _, err := seal(message.ReceiptRequest{}, to, past); !errors.Is(err, errExpired) {
		t.Errorf("late: %v", err)
	}
	for _, transit := range []bool{false, true} {
		m, err := seal(message.ReceiptRequest{}, "", func(e *clusterv1.Envelope) {
			e.Deadline, e.TransitDeadline = time.Now().Add(time.Hour).UnixMilli(), transit
		})
		if err != nil || m.Transit != transit {
			t.Errorf("transit %v: %+v, %v", transit, m, err)
		}
	}
	if m, err := seal(message.ReceiptRequest{Level: message.LevelQueued}, to, past); err != nil || m.Deadline.UnixMilli() != 1 {
		t.Errorf("late, with a receipt: %+v, %v", m, err)
	}
}
