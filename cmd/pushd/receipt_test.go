package main

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// buildNode builds and runs a node of a mesh, below the level of commands.
func buildNode(t *testing.T, name, peers string) *node {
	t.Helper()
	c, err := readConfig(t, variables{"PUSHD_JWT_SECRET": testSecret},
		"--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0",
		"--node-name", name, "--cluster-addr", "127.0.0.1:0", "--cluster-peers", peers, "--drain-window", "0s")
	if err != nil {
		t.Fatal(err)
	}
	n, err := build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n.run()
	t.Cleanup(func() {
		if err := n.drain(nil); err != nil {
			t.Errorf("drain of %s: %v", name, err)
		}
	})
	return n
}

// TestReceiptsOfANetwork: three nodes with everything that is in them. Two of
// them have a connection of one user each, and one more; the third asks.
func TestReceiptsOfANetwork(t *testing.T) {
	first := buildNode(t, "n1", "")
	peers := "nats://" + first.bound().Cluster
	nodes := []*node{first, buildNode(t, "n2", peers), buildNode(t, "n3", peers)}
	for _, n := range nodes {
		waitFor(t, func() bool {
			s, err := n.router.Stats(t.Context(), stats.Query{Limit: 1}, true)
			return err == nil && s.Complete && len(s.Nodes) == len(nodes)
		})
	}
	token := newSecret(newToken(t, "--tenant", "acme", "--user", "ann"))
	sockets := make([]*socket, 0, 3)
	for _, n := range []*node{nodes[0], nodes[0], nodes[1]} {
		s, err := dialSocket(t.Context(), "ws://"+n.bound().HTTP+"/ws", token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
	}
	tenant, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	user, err := address.ParseUserID("ann")
	if err != nil {
		t.Fatal(err)
	}
	ann, err := address.UserTarget(tenant, user)
	if err != nil {
		t.Fatal(err)
	}
	everybody, err := address.TenantTarget(tenant)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for i, c := range []struct {
		target  address.Target
		request message.ReceiptRequest
		ttl     time.Duration
		want    message.Counts
	}{
		{ann, message.ReceiptRequest{Level: message.LevelQueued, Timeout: 30 * time.Second}, 0, message.Counts{message.OutcomeQueued: 3}},
		{ann, message.ReceiptRequest{Level: message.LevelWritten, Timeout: 30 * time.Second}, time.Minute, message.Counts{message.OutcomeWritten: 3}},
		{everybody, message.ReceiptRequest{Level: message.LevelWritten, Timeout: 30 * time.Second}, 0, message.Counts{message.OutcomeWritten: 3}},
		{address.AllTarget(), message.ReceiptRequest{Level: message.LevelWritten, Timeout: 30 * time.Second}, 0, message.Counts{message.OutcomeWritten: 3}},
		// Nobody here acknowledges.
		{ann, message.ReceiptRequest{Level: message.LevelAcked, Timeout: 500 * time.Millisecond}, 0, message.Counts{message.OutcomeWritten: 3}},
	} {
		var r *message.Receipt
		limited := c.request.Level == message.LevelAcked
		waitFor(t, func() bool {
			m := &message.Message{
				ID: message.NewID(), Target: c.target, AcceptedAt: time.Now(), Receipt: c.request, Payload: fmt.Appendf(nil, `{"type":"%d"}`, sent),
			}
			if c.ttl > 0 {
				m.Deadline = m.AcceptedAt.Add(c.ttl)
			}
			began := time.Now()
			got, err := nodes[2].router.Publish(t.Context(), m)
			if err != nil || got.Receipt == nil {
				t.Fatalf("receipt %d: %+v, %v", i, got, err)
			}
			sent++
			r = got.Receipt
			if took := time.Since(began); !limited && took >= c.request.Timeout || limited && took < c.request.Timeout/2 {
				t.Errorf("receipt %d took %s", i, took)
			}
			// At the end of the time a busy node may be late.
			return !limited || r.Complete()
		})
		if r.Counts != c.want || r.Asked != 3 || r.Answered != 3 || !r.Complete() {
			t.Errorf("receipt %d: %+v", i, r)
		}
		var on []string
		for _, row := range r.Rows {
			on = append(on, row.Node)
		}
		if want := []string{"n1", "n1", "n2"}; c.target == ann && !slices.Equal(on, want) || c.target != ann && on != nil {
			t.Errorf("receipt %d: rows %v", i, r.Rows)
		}
	}
	for _, s := range sockets {
		for i := range sent {
			if text, err := s.next(); err != nil || string(text) != fmt.Sprintf(`{"type":"%d"}`, i) {
				t.Fatalf("message %d is %s, %v", i, text, err)
			}
		}
	}
}
