package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// Three devices of one user, on two nodes: one acknowledges, one takes nothing, one
// takes nothing and goes away. The sender is told exactly that.
func TestReceiptOfThreeDevices(t *testing.T) {
	const timeout = 6 * time.Second
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startKeeping(ctx, t, s, []string{"a", "b"}, "--outbound-queue-bytes", strconv.Itoa(16<<20))
	acks, stalls, goes := dialV1(ctx, t, nodes[0], "ann"), dialV1(ctx, t, nodes[1], "ann"), dialV1(ctx, t, nodes[0], "ann")
	acking := make(chan error, 1)
	go func() { acking <- ackUntil(ctx, acks, "last") }() // received below
	fill(ctx, t, nodes[0], stalls, goes)

	type result struct {
		code   int
		output string
		took   time.Duration
	}
	sent := make(chan result, 1)
	go func() { // received below
		began := time.Now()
		code, output := pushd(ctx, t, "send", "user", "acme", "ann", "--json", payload("last"), "--receipt", "acked",
			"--receipt-timeout", timeout.String(), "--server", nodes[0].GRPC, "--output", "json")
		sent <- result{code, output, time.Since(began)}
	}()
	// Connections of one user at one node are served together: the one that goes
	// has it in its queue when the other has it.
	if err := <-acking; err != nil {
		t.Fatal(err)
	}
	if err := goes.socket.Close(); err != nil {
		t.Fatal(err)
	}
	got := <-sent
	var answer struct {
		Receipt struct {
			Complete      bool
			Counts        receiptCounts
			NodesAsked    int      `json:"nodes_asked"`
			NodesAnswered int      `json:"nodes_answered"`
			MissingNodes  []string `json:"missing_nodes"`
			Connections   []struct {
				ID            string `json:"connection_id"`
				Node, Outcome string
			}
		}
	}
	if err := json.Unmarshal([]byte(got.output), &answer); err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v: %s", got.code, err, got.output)
	}
	r := answer.Receipt
	rows := make(map[string]string)
	for _, row := range r.Connections {
		rows[row.ID] = row.Node + " " + row.Outcome
	}
	want := map[string]string{
		acks.socket.ID: "a RECEIPT_OUTCOME_ACKED", stalls.socket.ID: "b RECEIPT_OUTCOME_QUEUED", goes.socket.ID: "a RECEIPT_OUTCOME_GONE",
	}
	counts := receiptCounts{Queued: "1", Written: "0", Acked: "1", Unknown: "0"}
	counts.Dropped.Gone = "1"
	if !maps.Equal(rows, want) || r.Counts != counts || !r.Complete || r.NodesAsked != 2 || r.NodesAnswered != 2 || len(r.MissingNodes) > 0 {
		t.Errorf("got %s, want %v", got.output, want)
	}
	if got.took < timeout {
		t.Errorf("it took %s", got.took)
	}
}

// receiptCounts is what the command prints of a receipt.
type receiptCounts struct {
	Queued, Written, Acked, Unknown string
	Dropped                         struct{ Gone string }
}

// ackUntil reads and acknowledges all that f gets, up to a mark.
func ackUntil(ctx context.Context, f *follower, mark string) error {
	for {
		m, err := f.socket.Next(ctx)
		if err != nil {
			return err
		}
		e, err := parseArrival(m)
		if err != nil {
			return err
		}
		if e.DeliveryID != "" {
			if err := f.socket.Send("ack", map[string]string{"deliveryId": e.DeliveryID}); err != nil {
				return err
			}
		}
		if e.Data.Mark == mark {
			return nil
		}
	}
}

// fill sends large notifications to ann until none goes out to these connections,
// which read nothing, any more. Once would be no proof: a busy machine may be slow
// to write.
func fill(ctx context.Context, t *testing.T, n *harness.Node, full ...*follower) {
	t.Helper()
	const times = 5
	c, stuck := control(t, n), 0
	err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
			TenantId: "acme", UserId: "ann", Store: pushdv1.Store_STORE_NEVER,
			Payload: &pushdv1.NotifyUserRequest_Json{Json: payload(strings.Repeat("x", 200<<10))},
			Receipt: &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN, Timeout: durationpb.New(200 * time.Millisecond)},
		})
		if err != nil {
			return harness.Permanent(err)
		}
		queued := 0
		for _, row := range answer.GetReceipt().GetConnections() {
			if row.GetOutcome() == pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_QUEUED &&
				slices.ContainsFunc(full, func(f *follower) bool { return f.socket.ID == row.GetConnectionId() }) {
				queued++
			}
		}
		if stuck++; queued < len(full) {
			stuck = 0
		}
		if stuck < times {
			return fmt.Errorf("%s", answer.GetReceipt())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
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
		members               uint64
		copiesA, copiesB, all float64
	}{{"acme", uint64(members), 1, 1, 3}, {"globex", 1, 1, 2, 4}} {
		answer, err := control(t, nodes[0]).BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
			TenantId: c.tenant, EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: payload("x")},
			Receipt: &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN, Timeout: durationpb.New(30 * time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := answer.GetReceipt()
		if !r.GetComplete() || r.GetCounts().GetWritten() != c.members || r.GetNodesAnswered() != 3 || r.GetNodesAsked() != 3 {
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
