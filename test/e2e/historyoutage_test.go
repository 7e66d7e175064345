package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// resumeWithin is how soon deliveries go on when NATS is back: before anything that
// runs every half minute would have mended it.
const resumeWithin = 20 * time.Second

// retryEvery is the pause of a publisher that was refused.
const retryEvery = 20 * time.Millisecond

// say sends a mark to the room, kept or not, with a key unless that is empty.
func say(ctx context.Context, c pushdv1.ControlServiceClient, mark, key string) (*pushdv1.SendChannelResponse, error) {
	return c.SendChannel(ctx, &pushdv1.SendChannelRequest{
		Channel: room, EventType: "event", IdempotencyKey: key, Payload: &pushdv1.SendChannelRequest_Json{Json: payload(mark)},
	})
}

// notify sends a mark to the inbox of ann.
func notify(ctx context.Context, c pushdv1.ControlServiceClient, mark, key string) (*pushdv1.NotifyUserResponse, error) {
	return c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: "acme", UserId: "ann", IdempotencyKey: key, Payload: &pushdv1.NotifyUserRequest_Json{Json: payload(mark)},
	})
}

// source publishes the marks 1, 2, 3 … one after the other until it is told to
// stop. What is refused as unavailable is tried again, with its key.
type source struct {
	send    func(ctx context.Context, mark, key string) error
	acked   atomic.Int64
	refused atomic.Int64
	stop    atomic.Bool
}

func (s *source) run(ctx context.Context) error {
	for !s.stop.Load() {
		mark := strconv.FormatInt(s.acked.Load()+1, 10)
		switch err := s.send(ctx, mark, "key "+mark); {
		case err == nil:
			s.acked.Add(1)
			continue
		case !isUnavailable(err):
			return fmt.Errorf("mark %s: %w", mark, err)
		}
		s.refused.Add(1)
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return fmt.Errorf("mark %s: %w", mark, ctx.Err())
		}
	}
	return nil
}

// awaitMore waits until n more were acknowledged.
func (s *source) awaitMore(ctx context.Context, t *testing.T, n int64) {
	t.Helper()
	want := s.acked.Load() + n
	err := harness.Eventually(ctx, func(context.Context) error {
		if got := s.acked.Load(); got < want {
			return fmt.Errorf("%d of %d were acknowledged", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// startKeeping runs nodes around an external NATS that keep the room.
func startKeeping(ctx context.Context, t *testing.T, s *natsServer, names []string, args ...string) []*harness.Node {
	t.Helper()
	var nodes []*harness.Node
	for _, name := range names {
		nodes = append(nodes, startNode(ctx, t, name, slices.Concat(keepRoom(), []string{"--nats-url", s.URL()}, args)...))
	}
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n), wantNodes(names...))
	}
	return nodes
}

// NATS ends and comes back several times while two publishers go on. Whoever is
// connected stays so and gets all that was acknowledged, in order, once.
func TestRestartOfNATSLosesNothing(t *testing.T) {
	const rounds, some = 3, 50
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startKeeping(ctx, t, s, []string{"a", "b"})
	ann, _, _ := startFollower(ctx, t, nodes[0], "ann")
	bob, _, _ := startFollower(ctx, t, nodes[1], "bob")
	paul := connect(ctx, t, nodes[0], "acme", "paul")
	join(ctx, t, paul, room)

	a, b := control(t, nodes[0]), control(t, nodes[1])
	toRoom := &source{send: func(ctx context.Context, mark, key string) error {
		_, err := say(ctx, a, mark, "room "+key)
		return err
	}}
	toInbox := &source{send: func(ctx context.Context, mark, key string) error {
		_, err := notify(ctx, b, mark, "inbox "+key)
		return err
	}}
	sources := []*source{toRoom, toInbox}
	var running sync.WaitGroup
	sending, cancel := context.WithCancel(ctx)
	defer running.Wait()
	defer cancel()
	for _, src := range sources {
		running.Go(func() {
			if err := src.run(sending); err != nil && sending.Err() == nil {
				t.Error(err)
			}
		})
	}
	for range rounds {
		for _, src := range sources {
			src.awaitMore(ctx, t, some)
		}
		s.Stop()
		for _, src := range sources {
			before := src.refused.Load()
			if err := harness.Eventually(ctx, func(context.Context) error {
				if src.refused.Load() == before {
					return fmt.Errorf("nothing was refused")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		s.start(ctx, t)
		back := time.Now()
		for channel, f := range map[string]*follower{room: bob, "": ann} {
			f.await(ctx, t, channel, func(all []arrival) error {
				if len(all) == 0 || all[len(all)-1].at.Before(back) {
					return fmt.Errorf("nothing came since NATS is back")
				}
				return nil
			})
			if took := time.Since(back); took > resumeWithin {
				t.Errorf("deliveries on %q went on after %s", channel, took)
			}
		}
	}
	for _, src := range sources {
		src.awaitMore(ctx, t, some)
		src.stop.Store(true)
	}
	running.Wait()
	inRoom, inInbox := int(toRoom.acked.Load()), int(toInbox.acked.Load())
	t.Logf("%d and %d messages, %d and %d refusals", inRoom, inInbox, toRoom.refused.Load(), toInbox.refused.Load())
	for _, c := range []struct {
		who     *follower
		channel string
		count   int
	}{{ann, room, inRoom}, {bob, room, inRoom}, {ann, "", inInbox}} {
		c.who.await(ctx, t, c.channel, endsWith(strconv.Itoa(c.count)))
		all, err := c.who.seen(c.channel)
		if err == nil {
			err = checkMarks(all, c.count)
		}
		if err != nil {
			t.Errorf("%s on %q: %v", c.who.name, c.channel, err)
		}
	}
	plain := heard(ctx, t, paul)
	for i, m := range plain {
		if mark(m) != strconv.Itoa(i+1) {
			t.Fatalf("plain: number %d is %s", i+1, m.Text)
		}
	}
	if len(plain) != inRoom {
		t.Errorf("plain: %d came of %d", len(plain), inRoom)
	}
}

// loss is a way in which a history comes to its end.
type loss func(ctx context.Context, t *testing.T, s *natsServer)

// A history that is lost begins anew: whoever follows it learns that, once, and
// goes on; so does who comes back from before.
func TestLostHistory(t *testing.T) {
	for name, lose := range map[string]loss{
		"all streams, by a restart": func(ctx context.Context, t *testing.T, s *natsServer) {
			t.Helper()
			s.Stop()
			if err := os.RemoveAll(s.Dir); err != nil {
				t.Fatal(err)
			}
			s.start(ctx, t)
		},
		"the stream, by an operator": func(ctx context.Context, t *testing.T, s *natsServer) {
			t.Helper()
			js := s.streams(t)
			old, err := js.Stream(ctx, "PD1H")
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteStream(ctx, "PD1H"); err != nil {
				t.Fatal(err)
			}
			// A node may be faster.
			if _, err := js.CreateOrUpdateStream(ctx, old.CachedInfo().Config); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { checkLostHistory(t, lose) })
	}
}

func checkLostHistory(t *testing.T, lose loss) {
	t.Helper()
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startKeeping(ctx, t, s, []string{"a", "b"})
	ann, _, _ := startFollower(ctx, t, nodes[0], "ann")
	bob, _, _ := startFollower(ctx, t, nodes[1], "bob")
	paul := connect(ctx, t, nodes[1], "acme", "paul")
	join(ctx, t, paul, room)
	a := control(t, nodes[0])
	var oldRoom, oldInbox place
	for i := range 5 {
		inRoom, err1 := say(ctx, a, strconv.Itoa(i), "")
		inInbox, err2 := notify(ctx, a, strconv.Itoa(i), "")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		oldRoom, oldInbox = place{inRoom.GetEpoch(), inRoom.GetOffset()}, place{inInbox.GetEpoch(), inInbox.GetOffset()}
	}
	for _, f := range []*follower{ann, bob} {
		f.await(ctx, t, room, endsWith("4"))
	}
	ann.await(ctx, t, "", endsWith("4"))
	if err := awaitMarks(ctx, paul, "0", "1", "2", "3", "4"); err != nil {
		t.Fatal(err)
	}

	lose(ctx, t, s)
	// What is sent right now may be stored before a node knows; then it is in the
	// gap, but has its place. This node has published nothing before.
	b := control(t, nodes[1])
	var newRoom, newInbox place
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := say(ctx, b, "new", "new room")
		newRoom = place{answer.GetEpoch(), answer.GetOffset()}
		return onlyUnavailable(err)
	}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := notify(ctx, b, "new", "new inbox")
		newInbox = place{answer.GetEpoch(), answer.GetOffset()}
		return onlyUnavailable(err)
	}); err != nil {
		t.Fatal(err)
	}
	if newRoom.epoch == oldRoom.epoch || newInbox.epoch != newRoom.epoch || newRoom.offset == "" {
		t.Errorf("stored at %+v and %+v, was %+v", newRoom, newInbox, oldRoom)
	}
	for _, c := range []struct {
		who     *follower
		channel string
	}{{ann, room}, {bob, room}, {ann, ""}} {
		c.who.await(ctx, t, c.channel, func(all []arrival) error {
			if len(gapsIn(all)) == 0 {
				return fmt.Errorf("got %s", tail(all))
			}
			return nil
		})
	}
	if _, err := say(ctx, a, "last", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := notify(ctx, a, "last", ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who     *follower
		channel string
	}{{ann, room}, {bob, room}, {ann, ""}} {
		c.who.await(ctx, t, c.channel, endsWith("last"))
		all, _ := c.who.seen(c.channel)
		gaps := gapsIn(all)
		if len(gaps) != 1 || gaps[0].Data.Reason != "epoch_changed" {
			t.Errorf("%s was told on %q: %s", c.who.name, c.channel, tail(gaps))
		}
		if news := count(all, "new"); news > 1 || len(all) > 8 {
			t.Errorf("%s got on %q: %s", c.who.name, c.channel, tail(all))
		}
	}
	checkPlainGoesOn(ctx, t, paul)
	checkOldPlace(ctx, t, nodes[1], oldRoom, oldInbox)
}

// checkPlainGoesOn wants the last message on a plain connection, and the new one
// before it at most once.
func checkPlainGoesOn(ctx context.Context, t *testing.T, s *harness.Socket) {
	t.Helper()
	var marks []string
	for len(marks) == 0 || marks[len(marks)-1] != "last" {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("plain after %q: %v", marks, err)
		}
		marks = append(marks, mark(m))
	}
	if len(marks) > 2 || len(marks) == 2 && marks[0] != "new" {
		t.Errorf("plain got %q", marks)
	}
	checkQuiet(ctx, t, s)
}

// checkOldPlace comes back from a place of another epoch.
func checkOldPlace(ctx context.Context, t *testing.T, n *harness.Node, oldRoom, oldInbox place) {
	t.Helper()
	awaitReady(ctx, t, n)
	f := dialV1(ctx, t, n, "ann")
	for name, e := range map[string]arrival{"room": f.join(ctx, t, oldRoom), "inbox": f.subscribe(ctx, t, oldInbox)} {
		if e.Data.Recovered == nil || *e.Data.Recovered || e.Data.Gap == nil || e.Data.Gap.Reason != "epoch_changed" {
			t.Errorf("%s, from before: %s", name, e.text)
		}
		if e.Data.Epoch == oldRoom.epoch || e.Data.Offset == "" {
			t.Errorf("%s, from before, stands at %s", name, e.text)
		}
	}
}

// count returns how many events have a mark.
func count(all []arrival, mark string) int {
	n := 0
	for _, e := range all {
		if e.Data.Mark == mark {
			n++
		}
	}
	return n
}

// onlyUnavailable makes all other errors permanent.
func onlyUnavailable(err error) error {
	if err == nil || isUnavailable(err) {
		return err
	}
	return harness.Permanent(fmt.Errorf("not unavailable, but %s: %w", status.Code(err), err))
}

// streams returns the JetStream of the server, as an operator sees it.
func (s *natsServer) streams(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.URL(), nats.Name(watcher))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// awaitReady waits until n takes clients.
func awaitReady(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	if err := awaitProbe(ctx, "http://"+n.HTTP+"/readyz", http.StatusOK); err != nil {
		t.Fatal(err)
	}
}
