package e2e_test

import (
	"fmt"
	"strconv"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// While a change of the rules goes through the cluster, one node keeps the room
// and another does not. Members on both get all that is sent on either.
func TestNodesWithDifferentRules(t *testing.T) {
	const rounds = 20
	ctx := bounded(t)
	s := startNATS(ctx, t)
	keeps := startNode(ctx, t, "keeps", append(keepRoom(), "--nats-url", s.URL())...)
	drops := startNode(ctx, t, "drops", "--channel-history", "tenant:**=off", "--inbox-history", "off", "--nats-url", s.URL())
	for _, n := range []*harness.Node{keeps, drops} {
		awaitStats(ctx, t, control(t, n), func(r *pushdv1.StatsResponse) error {
			if err := wantNodes("drops", "keeps")(r); err != nil {
				return err
			}
			if r.GetNodes()[0].GetHistoryRules() == r.GetNodes()[1].GetHistoryRules() {
				return fmt.Errorf("the rules look the same")
			}
			return nil
		})
	}
	var followers []*follower
	var plain []*harness.Socket
	for _, n := range []*harness.Node{keeps, drops} {
		f := dialV1(ctx, t, n, "ann")
		joined, subscribed := f.join(ctx, t, place{}), f.subscribe(ctx, t, place{})
		if joined.Type != "channel_joined" || subscribed.Type != "notifications_subscribed" || (joined.Data.Offset != "") != (n == keeps) {
			t.Fatalf("at %s: %s, %s", n.Name, joined.text, subscribed.text)
		}
		f.follow(t)
		followers = append(followers, f)
		p := connect(ctx, t, n, "acme", "paul")
		join(ctx, t, p, room)
		plain = append(plain, p)
	}
	var want []string
	for i := range rounds {
		for _, n := range []*harness.Node{keeps, drops} {
			mark := strconv.Itoa(i) + " by " + n.Name
			inRoom, err1 := say(ctx, control(t, n), mark, "")
			inInbox, err2 := notify(ctx, control(t, n), mark, "")
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if kept := n == keeps; (inRoom.GetOffset() != "") != kept || (inInbox.GetOffset() != "") != kept {
				t.Errorf("%s is stored at %q and %q", mark, inRoom.GetOffset(), inInbox.GetOffset())
			}
			want = append(want, mark)
		}
	}
	for _, f := range followers {
		for _, channel := range []string{room, ""} {
			f.await(ctx, t, channel, func(all []arrival) error {
				if len(all) < len(want) {
					return fmt.Errorf("%d of %d came", len(all), len(want))
				}
				return nil
			})
			all, _ := f.seen(channel)
			for _, mark := range want {
				if count(all, mark) != 1 {
					t.Errorf("%s on %q: %q came %d times", f.name, channel, mark, count(all, mark))
				}
			}
			if len(all) != len(want) {
				t.Errorf("%s on %q: %d came of %d: %s", f.name, channel, len(all), len(want), tail(all))
			}
		}
	}
	for _, p := range plain {
		if err := awaitMarks(ctx, p, want...); err != nil {
			t.Error(err)
		}
		checkQuiet(ctx, t, p)
	}
}
