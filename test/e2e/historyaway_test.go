package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// firstRefusal is how long a publisher may wait for the answer that the
	// history is away: the time for publishing, and some for a busy machine.
	firstRefusal = 20 * time.Second
	// laterRefusal is the same once it is known: less than the time for publishing.
	// One message a second tries anew and waits longer.
	laterRefusal = 1500 * time.Millisecond
	// joinRefusal is the same for who joins: 5 s, and some for a busy machine.
	joinRefusal = 25 * time.Second
)

// hall is a channel that is not kept.
const hall = "tenant:acme:hall"

// sayIn sends a mark to a channel.
func sayIn(ctx context.Context, c pushdv1.ControlServiceClient, channel, mark string) error {
	_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
		Channel: channel, EventType: "event", Payload: &pushdv1.SendChannelRequest_Json{Json: payload(mark)},
	})
	return err
}

// checkRefusals wants stored messages to be refused: soon, and nearly always at
// once.
func checkRefusals(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient, want codes.Code) {
	t.Helper()
	const tries = 20
	refuse := func(i int) (took time.Duration) {
		began := time.Now()
		err := sayIn(ctx, c, room, "late")
		took = time.Since(began)
		if status.Code(err) != want {
			t.Errorf("publish %d: %v", i, err)
		}
		if took > firstRefusal {
			t.Errorf("publish %d was refused after %s", i, took)
		}
		return took
	}
	refuse(0)
	atOnce(t, func() bool {
		var slow atomic.Int64
		began := time.Now()
		var asking sync.WaitGroup
		for i := range tries { // at once, so that few can be the one that tries anew
			asking.Go(func() {
				if refuse(i+1) > laterRefusal {
					slow.Add(1)
				}
			})
		}
		asking.Wait()
		return slow.Load() <= 1+int64(time.Since(began)/time.Second)
	})
}

// atOnce wants a round of refusals without slow ones but for those that try anew.
// A busy machine may spoil some rounds, a fault spoils all.
func atOnce(t *testing.T, round func() bool) {
	t.Helper()
	for range 5 {
		if round() {
			return
		}
	}
	t.Errorf("more than who tries anew took longer than %s", laterRefusal)
}

// checkWithoutHistory holds a node to what it promises while the history is away.
// guest is a member of the hall. With known the node may still be told what was
// stored last, and let clients join.
func checkWithoutHistory(ctx context.Context, t *testing.T, n *harness.Node, guest *harness.Socket, known bool) {
	t.Helper()
	c := control(t, n)
	checkRefusals(ctx, t, c, codes.Unavailable)
	if err := sayIn(ctx, c, hall, "live"); err != nil {
		t.Error(err)
	}
	if err := awaitMarks(ctx, guest, "live"); err != nil {
		t.Error(err)
	}
	late := dialV1(ctx, t, n, "late")
	began := time.Now()
	e := late.ask(ctx, t, "join_channel", map[string]any{"channel": den})
	joined := known && e.Type == "channel_joined" && e.Data.Offset != ""
	if took := time.Since(began); e.Data.Code != "unavailable" && !joined || took > joinRefusal {
		t.Errorf("a join was answered after %s: %s", took, e.text)
	}
	if e := late.join(ctx, t, place{}); e.Type != "channel_joined" && e.Data.Code != "unavailable" {
		t.Errorf("a join of what the node follows: %s", e.text)
	}
	if e := late.ask(ctx, t, "join_channel", map[string]any{"channel": hall}); e.Type != "channel_joined" {
		t.Errorf("a join of what is not kept: %s", e.text)
	}
}

// checkHistoryIsBack waits until messages are stored, and wants f, which was a
// member all the while, to have this one last.
func checkHistoryIsBack(ctx context.Context, t *testing.T, n *harness.Node, f *follower) {
	t.Helper()
	c := control(t, n)
	const back = "back"
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := say(ctx, c, back, back)
		if err == nil && answer.GetOffset() == "" {
			return harness.Permanent(errors.New("it was not stored"))
		}
		return onlyUnavailable(err)
	}); err != nil {
		t.Fatal(err)
	}
	f.await(ctx, t, room, func(all []arrival) error {
		if count(all, back) != 1 {
			return fmt.Errorf("got %s", tail(all))
		}
		return nil
	})
	all, _ := f.seen(room)
	if gaps := gapsIn(all); len(gaps) > 0 {
		t.Errorf("gaps: %s", tail(gaps))
	}
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		late := dialV1(ctx, t, n, "late")
		if e := late.ask(ctx, t, "join_channel", map[string]any{"channel": den}); e.Type != "channel_joined" || e.Data.Offset == "" {
			return fmt.Errorf("a join was answered by %s", e.text)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// NATS comes back without JetStream, and somebody listens to all: so nobody says
// that there is no answer.
func TestNATSWithoutJetStream(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	n := startKeeping(ctx, t, s, []string{"solo"})[0]
	f, _, _ := startFollower(ctx, t, n, "ann")
	guest := connect(ctx, t, n, "acme", "paul")
	join(ctx, t, guest, hall)
	if err := sayIn(ctx, control(t, n), room, "before"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Storeless = true
	s.start(ctx, t)
	s.watch(t)
	awaitReady(ctx, t, n)
	checkWithoutHistory(ctx, t, n, guest, false)
	s.Stop()
	s.Storeless = false
	s.start(ctx, t)
	awaitReady(ctx, t, n)
	checkHistoryIsBack(ctx, t, n, f)
}

// The room of the keys is full, as it makes no room for new ones.
func TestFullHistory(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	n := startNode(ctx, t, "solo", append(keepRoom(), "--nats-url", s.URL(), "--history-max-bytes", strconv.Itoa(16<<20))...)
	guest := connect(ctx, t, n, "acme", "paul")
	join(ctx, t, guest, hall)
	c := control(t, n)
	send := func(i int) error {
		_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
			Channel: "tenant:acme:other", EventType: "event", IdempotencyKey: fmt.Sprint("key ", i),
			Payload: &pushdv1.SendChannelRequest_Json{Json: payload(fmt.Sprintf("%40000d", i))},
		})
		return err
	}
	taken := 0
	var full error
	for ; full == nil && taken < 100; taken++ {
		full = send(taken)
	}
	atOnce(t, func() bool {
		slow := 0
		for i := range 20 {
			asked := time.Now()
			if err := send(taken + i); status.Code(err) != codes.ResourceExhausted {
				t.Fatalf("after %d messages: %v", taken, err)
			}
			if time.Since(asked) > laterRefusal {
				slow++
			}
		}
		return slow <= 1
	})
	if err := sayIn(ctx, c, hall, "live"); err != nil {
		t.Error(err)
	}
	if err := awaitMarks(ctx, guest, "live"); err != nil {
		t.Error(err)
	}
	if answer, err := say(ctx, c, "stored", ""); err != nil || answer.GetOffset() == "" {
		t.Errorf("what makes room by itself: %v, %v", answer, err)
	}
	keys, err := s.streams(t).Stream(ctx, "PD1K")
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	if err := harness.Eventually(ctx, func(context.Context) error { return send(1000) }); err != nil {
		t.Error(err)
	}
}

// Two of three history nodes are killed: the one that is left can store nothing,
// and goes on with the rest.
func TestHistoryWithoutLeader(t *testing.T) {
	ctx := bounded(t)
	nodes := startHistoryNodes(ctx, t, keepRoom()...)
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n.Node), sameRules("a", "b", "c"))
	}
	f, _, _ := startFollower(ctx, t, nodes[0].Node, "ann")
	guest := connect(ctx, t, nodes[0].Node, "acme", "paul")
	join(ctx, t, guest, hall)
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		_, err := say(ctx, control(t, nodes[0].Node), "before", "before")
		return onlyUnavailable(err)
	}); err != nil {
		t.Fatal(err)
	}
	f.await(ctx, t, room, endsWith("before"))
	for _, n := range nodes[1:] {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	checkWithoutHistory(ctx, t, nodes[0].Node, guest, true)
	startTogether(ctx, t, nodes[1:])
	checkHistoryIsBack(ctx, t, nodes[0].Node, f)
}
