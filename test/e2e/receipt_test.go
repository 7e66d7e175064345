package e2e_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// Three devices of one user, on two nodes: one acknowledges, one reads nothing,
// one goes away. The sender is told exactly that.
func TestReceiptOfThreeDevices(t *testing.T) {
	const timeout = 2 * time.Second
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startKeeping(ctx, t, s, "a", "b")
	acks, goes := dialV1(ctx, t, nodes[0], "ann"), dialV1(ctx, t, nodes[1], "ann")
	stalls := dialV1(ctx, t, nodes[1], "ann")
	errs := make(chan error, 2)
	for _, device := range []struct {
		*follower
		then func(arrival) error
	}{
		{acks, func(e arrival) error {
			return acks.socket.Send("ack", map[string]string{"deliveryId": e.DeliveryID})
		}},
		{goes, func(arrival) error { return goes.socket.Close() }},
	} {
		go func() { // received below
			m, err := device.socket.Expect(ctx, "notification")
			var e arrival
			if err == nil {
				e, err = parseArrival(m)
			}
			if err == nil {
				err = device.then(e)
			}
			errs <- err
		}()
	}
	began := time.Now()
	code, output := pushd(ctx, t, "send", "user", "acme", "ann", "--json", payload("x"), "--receipt", "acked",
		"--receipt-timeout", timeout.String(), "--server", nodes[0].GRPC, "--output", "json")
	took := time.Since(began)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	var answer struct {
		Receipt struct {
			Complete      bool
			Counts        map[string]json.RawMessage
			NodesAsked    int
			NodesAnswered int
			MissingNodes  []string
			Connections   []struct{ ConnectionID, Node, Outcome string }
		}
	}
	if err := json.Unmarshal([]byte(output), &answer); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, output)
	}
	t.Logf("after %s: %s", took, output)
	r := answer.Receipt
	want := map[string]string{acks.socket.ID: "RECEIPT_OUTCOME_ACKED", stalls.socket.ID: "RECEIPT_OUTCOME_WRITTEN", goes.socket.ID: "RECEIPT_OUTCOME_GONE"}
	for _, row := range r.Connections {
		if row.Outcome != want[row.ConnectionID] {
			t.Errorf("connection %s: %s, want %q", row.ConnectionID, row.Outcome, want[row.ConnectionID])
		}
		delete(want, row.ConnectionID)
	}
	if len(want) > 0 || r.NodesAsked != 2 || r.NodesAnswered != 2 || len(r.MissingNodes) > 0 {
		t.Errorf("not in the receipt: %v", want)
	}
	// The race detector makes the start of a process slow.
	if took < timeout || took > 2*timeout {
		t.Errorf("it took %s", took)
	}
}

// A broadcast to clients on three nodes: every one of them is counted, and each
// node that has any got one copy.
func TestReceiptOfABroadcast(t *testing.T) {
	ctx := bounded(t)
	nodes := startMesh(ctx, t)
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n), wantNodes("a", "b", "c"))
	}
	members := 0
	for i, n := range nodes {
		for range 2*i + 1 {
			connect(ctx, t, n, "acme", "")
			members++
		}
	}
	connect(ctx, t, nodes[1], "globex", "")
	for _, c := range []struct {
		tenant                string
		members, nodes        uint64
		copiesA, copiesB, all float64
	}{{"acme", uint64(members), 3, 1, 1, 3}, {"globex", 1, 1, 1, 2, 4}} { //nolint:gosec // A count.
		answer, err := control(t, nodes[0]).BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
			TenantId: c.tenant, EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: payload("x")},
			Receipt: &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN, Timeout: durationpb.New(10 * time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := answer.GetReceipt()
		if !r.GetComplete() || r.GetCounts().GetWritten() != c.members || uint64(r.GetNodesAnswered()) != c.nodes || r.GetNodesAsked() != r.GetNodesAnswered() {
			t.Errorf("%s: %s", c.tenant, r)
		}
		if len(r.GetConnections()) > 0 {
			t.Errorf("%s: a broadcast names connections", c.tenant)
		}
		copies := [3]float64{}
		sum := 0.0
		for i, n := range nodes {
			copies[i] = copiesOf(ctx, t, n, "tenant")
			sum += copies[i]
		}
		if copies[0] != c.copiesA || copies[1] != c.copiesB || sum != c.all {
			t.Errorf("%s: the nodes have got %v copies", c.tenant, copies)
		}
	}
}

// copiesOf returns how many messages of a kind NATS brought to n.
func copiesOf(ctx context.Context, t *testing.T, n *harness.Node, kind string) float64 {
	t.Helper()
	got, err := n.Metric(ctx, "pushd_cluster_received_total", `kind="`+kind+`"`)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
