package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/harness"
)

// room and den are channels that are kept by nodes with keepRoom.
const (
	room = "tenant:acme:room"
	den  = "tenant:acme:den"
)

// keepRoom are the flags for a history that keeps the two, and all inboxes.
func keepRoom() []string {
	return []string{"--channel-history", room + "=10000/1h," + den + "=10000/1h", "--inbox-history", "10000/1h"}
}

// arrival is a message of the dialect pushd.v1.json.
type arrival struct {
	Type    string `json:"type"`
	Channel string `json:"channel"`
	Offset  string `json:"offset"`
	Data    struct {
		Mark       string `json:"mark"`
		Code       string `json:"code"`
		Channel    string `json:"channel"`
		Epoch      string `json:"epoch"`
		Offset     string `json:"offset"`
		Recovered  *bool  `json:"recovered"`
		From       string `json:"from"`
		To         string `json:"to"`
		Reason     string `json:"reason"`
		DeliveryID string `json:"deliveryId"`
		Gap        *struct{ From, To, Reason string }
	} `json:"data"`
	DeliveryID string `json:"deliveryId"`

	text string
	at   time.Time
}

func parseArrival(m harness.Message) (arrival, error) {
	e := arrival{text: m.Text, at: time.Now()}
	if err := json.Unmarshal([]byte(m.Text), &e); err != nil {
		return e, fmt.Errorf("%q: %w", m.Text, err)
	}
	return e, nil
}

// place is where a client stands in a feed.
type place struct{ epoch, offset string }

// follower is a v1 client. It asks first, and then reads all that comes until the
// test ends.
type follower struct {
	name   string
	socket *harness.Socket

	mu  sync.Mutex
	got []arrival
	err error
}

// dialV1 opens a v1 connection, which ends with the test.
func dialV1(ctx context.Context, t *testing.T, n *harness.Node, user string) *follower {
	t.Helper()
	s, err := harness.Dial(ctx, n.WebSocket(), sign(t, claims{"tenantId": "acme", "userId": user}),
		http.Header{"Sec-Websocket-Protocol": {"pushd.v1.json"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &follower{name: user + " at " + n.Name, socket: s}
}

// ask sends a request and returns its answer, which must come next.
func (f *follower) ask(ctx context.Context, t *testing.T, kind string, data map[string]any) arrival {
	t.Helper()
	if err := f.socket.Send(kind, data); err != nil {
		t.Fatal(err)
	}
	m, err := f.socket.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e, err := parseArrival(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// join joins the room, from a place if it is one.
func (f *follower) join(ctx context.Context, t *testing.T, from place) arrival {
	t.Helper()
	return f.ask(ctx, t, "join_channel", recoverFrom(map[string]any{"channel": room}, from))
}

// subscribe follows the inbox, from a place if it is one.
func (f *follower) subscribe(ctx context.Context, t *testing.T, from place) arrival {
	t.Helper()
	return f.ask(ctx, t, "subscribe_notifications", recoverFrom(map[string]any{"types": []string{"all"}}, from))
}

func recoverFrom(data map[string]any, from place) map[string]any {
	if from != (place{}) {
		data["recover"] = map[string]string{"epoch": from.epoch, "offset": from.offset}
	}
	return data
}

// follow reads from now on; nothing may be asked any more.
func (f *follower) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(done)
		for {
			m, err := f.socket.Next(ctx)
			var e arrival
			if err == nil {
				e, err = parseArrival(m)
			}
			f.mu.Lock()
			if f.err = err; err == nil {
				f.got = append(f.got, e)
			}
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// startFollower joins the room and the inbox, and follows both.
func startFollower(ctx context.Context, t *testing.T, n *harness.Node, user string) (f *follower, inRoom, inInbox place) {
	t.Helper()
	f = dialV1(ctx, t, n, user)
	joined, subscribed := f.join(ctx, t, place{}), f.subscribe(ctx, t, place{})
	if joined.Type != "channel_joined" || subscribed.Type != "notifications_subscribed" {
		t.Fatalf("answers are %s and %s", joined.text, subscribed.text)
	}
	f.follow(t)
	return f, place{joined.Data.Epoch, joined.Data.Offset}, place{subscribed.Data.Epoch, subscribed.Data.Offset}
}

// seen returns what came on a channel, or with "" what came to the inbox.
func (f *follower) seen(channel string) ([]arrival, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []arrival
	for _, e := range f.got {
		on := e.Channel
		if e.Type == "gap" {
			on = e.Data.Channel
		}
		if on == channel {
			all = append(all, e)
		}
	}
	return all, f.err
}

// await waits until check is content with what came on a channel.
func (f *follower) await(ctx context.Context, t *testing.T, channel string, check func([]arrival) error) {
	t.Helper()
	err := harness.Eventually(ctx, func(context.Context) error {
		all, err := f.seen(channel)
		if err != nil {
			return harness.Permanent(err)
		}
		return check(all)
	})
	if err != nil {
		t.Fatalf("%s on %q: %v", f.name, channel, err)
	}
}

// endsWith wants the last message to have a mark.
func endsWith(mark string) func([]arrival) error {
	return func(all []arrival) error {
		if len(all) == 0 || all[len(all)-1].Data.Mark != mark {
			return fmt.Errorf("%d messages came, and %q is not the last of them: %.1000s", len(all), mark, tail(all))
		}
		return nil
	}
}

// tail shows the last few.
func tail(all []arrival) string {
	text := ""
	for _, e := range all[max(0, len(all)-5):] {
		text += e.text + "\n"
	}
	return text
}

// gapsIn returns the gaps among events.
func gapsIn(all []arrival) []arrival {
	return slices.DeleteFunc(slices.Clone(all), func(e arrival) bool { return e.Type != "gap" })
}

// checkMarks wants the marks 1 to count in this order, each once, at growing
// offsets, and nothing else.
func checkMarks(all []arrival, count int) error {
	last := uint64(0)
	for i, e := range all {
		if e.Data.Mark != strconv.Itoa(i+1) {
			return fmt.Errorf("number %d is %s, after %s", i+1, e.text, tail(all[:i]))
		}
		offset, err := strconv.ParseUint(e.Offset, 10, 64)
		if err != nil || offset <= last {
			return fmt.Errorf("number %d after offset %d: %s", i+1, last, e.text)
		}
		last = offset
	}
	if len(all) != count {
		return errors.New(fmt.Sprint(len(all), " came of ", count))
	}
	return nil
}
