package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/test/harness"
)

// The transcripts in testdata/v1json freeze pushd.v1.json; TestPlainTranscripts
// says how they are written.
func TestJSONTranscripts(t *testing.T) {
	playTranscripts(t, "v1json", jsonDialect, nil)
}

// TestProtoTranscripts: the same session has the same meaning in pushd.v1.proto,
// but for what only JSON can get wrong.
func TestProtoTranscripts(t *testing.T) {
	playTranscripts(t, "v1json", protoDialect, func(name string) bool { return strings.HasPrefix(name, "json-") })
}

// inV1 runs a test in each of the dialects beside the plain one.
func inV1(t *testing.T, change tweak, run func(*testing.T, *env, string)) {
	for _, dialect := range []string{jsonDialect, protoDialect} {
		t.Run(dialect, func(t *testing.T) {
			onEachKeepingDriver(t, change, func(t *testing.T, e *env) { run(t, e, dialect) })
		})
	}
}

// pings makes a batch of pings with the ids from 0 on.
func pings(n int) string {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"type":"ping","id":"%d"}`, i))
	}
	return strings.Join(lines, "\n")
}

// TestBatch: as many requests as a frame may hold are answered in order; one more
// and none is done.
func TestBatch(t *testing.T) {
	inV1(t, nil, func(t *testing.T, e *env, dialect string) {
		c := e.dialAs(t, dialect, who{})
		c.send(pings(64))
		for i := range 64 {
			c.expectID("pong", fmt.Sprint(i))
		}
		c.send(pings(65))
		c.expectError("bad_request")
		c.quiet()
	})
}

// TestBatchCountsEachRequest: a batch is no way around the rate; each request
// that is over it is refused with its id, and says when to try again.
func TestBatchCountsEachRequest(t *testing.T) {
	slow := func(o *edge.Options) { o.InboundRate, o.InboundBurst = 0.001, 5 }
	inV1(t, slow, func(t *testing.T, e *env, dialect string) {
		c := e.dialAs(t, dialect, who{})
		c.send(pings(8))
		for i := range 5 {
			c.expectID("pong", fmt.Sprint(i))
		}
		for i := 5; i < 8; i++ {
			m := c.expectError("rate_limited")
			if m.ID != fmt.Sprint(i) || !strings.Contains(m.Text, `"retryable":true`) || !strings.Contains(m.Text, `"retryAfter":`) {
				t.Errorf("got %s", m.Text)
			}
		}
		// A batch of which not even the first fits is refused one by one, too.
		c.send(pings(3))
		for i := range 3 {
			if m := c.expectError("rate_limited"); m.ID != fmt.Sprint(i) {
				t.Errorf("got %s", m.Text)
			}
		}
		if got := e.hub.Totals().MessagesIn; got < 8 {
			t.Errorf("%d messages were counted", got)
		}
	})
}

// TestWrongKindOfFrame: text is not for pushd.v1.proto, binary for no other.
func TestWrongKindOfFrame(t *testing.T) {
	for dialect, f := range map[string]ws.Frame{
		"":            ws.NewBinaryFrame([]byte("{}")),
		"pushd.plain": ws.NewBinaryFrame([]byte("{}")),
		jsonDialect:   ws.NewBinaryFrame([]byte("{}")),
		protoDialect:  ws.NewTextFrame([]byte(`{"type":"ping"}`)),
	} {
		t.Run(dialect, func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				c := e.dialAs(t, dialect, who{})
				// The other driver masks the same payload.
				if err := c.SendFrame(ws.NewFrame(f.Header.OpCode, true, bytes.Clone(f.Payload))); err != nil {
					t.Fatal(err)
				}
				c.expectClose(ws.StatusUnsupportedData)
			})
		})
	}
}

// TestUnreadableProto: what can't be read is refused, and nothing of a frame that
// can't be split is done; the connection stays.
func TestUnreadableProto(t *testing.T) {
	ping := protowire.AppendBytes(nil, protoRequest(t, `{"type":"ping","id":"p"}`))
	join := protowire.AppendBytes(nil, protoRequest(t, `{"type":"join_channel","id":"j","data":{"channel":"tenant:acme"}}`))
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dialAs(t, protoDialect, who{})
		for name, frame := range map[string][]byte{
			"nothing":        nil,
			"cut off":        slices.Concat(join, ping[:len(ping)-1]),
			"not protobuf":   {3, 0xff, 0xff, 0xff},
			"no UTF-8":       {3, 0x0a, 1, 0xff},
			"too long an id": protowire.AppendBytes(nil, protowire.AppendBytes([]byte{0x0a}, bytes.Repeat([]byte("i"), 65))),
		} {
			if err := c.SendFrame(ws.NewBinaryFrame(bytes.Clone(frame))); err != nil {
				t.Fatal(err)
			}
			if m := c.expectError("bad_request"); m.ID != "" {
				t.Errorf("%s: %s", name, m.Text)
			}
		}
		// The id of what is no JSON can be read, and a request of the future.
		for _, m := range []*pushdv1.ClientMessage{
			{Id: "1", Request: &pushdv1.ClientMessage_SendMessage{SendMessage: &pushdv1.SendMessage{Channel: "tenant:acme", Message: "{"}}},
			{Id: "1", Request: &pushdv1.ClientMessage_SendMessage{SendMessage: &pushdv1.SendMessage{Channel: "tenant:acme", Message: `1,"key":"k"`}}},
			{Id: "1", Request: &pushdv1.ClientMessage_SendMessage{SendMessage: &pushdv1.SendMessage{Channel: "tenant:acme"}}},
		} {
			if err := c.SendFrame(ws.NewBinaryFrame(protowire.AppendBytes(nil, must(proto.Marshal(m))))); err != nil {
				t.Fatal(err)
			}
			if got := c.expectError("bad_request"); got.ID != "1" {
				t.Errorf("%v: %s", m, got.Text)
			}
		}
		future := protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), []byte("x"))
		if err := c.SendFrame(ws.NewBinaryFrame(protowire.AppendBytes(nil, future))); err != nil {
			t.Fatal(err)
		}
		c.expectError("unknown_type")
		c.quiet()
		if got := e.hub.Totals().Channels; got != 0 {
			t.Errorf("%d channels were joined", got)
		}
	})
}

// TestGoingAway: who is drained is told before, with a time to come back; plain
// clients only get the close.
func TestGoingAway(t *testing.T) {
	inV1(t, nil, func(t *testing.T, e *env, dialect string) {
		c, plain := e.dialAs(t, dialect, who{}), e.dial(t, who{})
		wait := e.drainAside(t, t.Context())
		m := c.expect("going_away")
		var data struct {
			RetryAfter int    `json:"retryAfter"`
			Reason     string `json:"reason"`
		}
		if err := json.Unmarshal(m.Data, &data); err != nil || data.Reason != "drain" || data.RetryAfter < 0 || data.RetryAfter >= 1000 {
			t.Errorf("got %s, %v", m.Text, err)
		}
		c.expectClose(4000)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var closed *harness.Closed
		if m, err := plain.Next(ctx); !errors.As(err, &closed) || closed.Code != 4000 {
			t.Errorf("plain got %s, %v", m.Text, err)
		}
		plain.hangUp()
		wait()
	})
}

// TestUnsubscribeWaitsForJoin: taking away what is not yet there takes it away
// when it is.
func TestUnsubscribeWaitsForJoin(t *testing.T) {
	inV1(t, nil, func(t *testing.T, e *env, dialect string) {
		c := e.dialAs(t, dialect, who{user: "ann"})
		e.bus.holdBack(address.KindChannel)
		c.send(`{"type":"subscribe_notifications","id":"1","data":{"types":["a"]}}`)
		c.send(`{"type":"subscribe_notifications","id":"2","data":{"types":["b"]}}`)
		c.send(`{"type":"unsubscribe_notifications","id":"3","data":{"types":["a","b"]}}`)
		e.bus.awaitHeld(t, 2)
		c.quiet()
		e.bus.settle(nil)
		c.expectID("notifications_subscribed", "1")
		c.expectID("notifications_subscribed", "2")
		c.expectID("notifications_unsubscribed", "3")
		e.notify(userTarget("acme", "ann"), "a", `{"type":"notification","data":1}`)
		e.deliver(channelTarget("acme", "notifications:acme:ann:b"), `{"type":"x"}`)
		c.quiet()
	})
}

// TestKeysAreTheUsersOwn: the same key is the same for the connections of one
// user, and nobody else's.
func TestKeysAreTheUsersOwn(t *testing.T) {
	inV1(t, nil, func(t *testing.T, e *env, dialect string) {
		var mu sync.Mutex
		var keys []string
		e.bus.set(func(b *fakeBus) {
			b.accept = func(m *message.Message) (message.Accepted, error) {
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, m.Key)
				return message.Accepted{ID: m.ID}, nil
			}
		})
		for _, w := range []who{{user: "ann"}, {user: "ann"}, {user: "bob"}, {}, {}} {
			c := e.dialAs(t, dialect, w)
			c.send(`{"type":"send_message","id":"1","data":{"channel":"tenant:acme","message":1,"key":"k"}}`)
			c.expectID("message_sent", "1")
		}
		mu.Lock()
		defer mu.Unlock()
		if keys[0] != keys[1] || len(keys[0]) > 64 || strings.Contains(keys[0], "ann") {
			t.Errorf("keys of one user: %q", keys[:2])
		}
		slices.Sort(keys)
		if got := len(slices.Compact(keys)); got != 4 {
			t.Errorf("%d different keys, want 4", got)
		}
	})
}

// TestSentLater: an answer of the bus that takes its time finds the connection,
// unless that is gone; what waits is bounded.
func TestSentLater(t *testing.T) {
	const most = 256
	inV1(t, oneLoop, func(t *testing.T, e *env, dialect string) {
		late := make(chan func(), 2*most)
		e.bus.set(func(b *fakeBus) { b.later = late })
		c, gone := e.dialAs(t, dialect, who{user: "ann"}), e.dialAs(t, dialect, who{user: "bob"})
		const send = `{"type":"send_message","id":"%d","data":{"channel":"tenant:acme","message":1}}`
		for i := range most {
			c.send(fmt.Sprintf(send, i))
		}
		c.quiet()
		c.send(fmt.Sprintf(send, most))
		if m := c.expectError("rate_limited"); m.ID != fmt.Sprint(most) {
			t.Errorf("got %s", m.Text)
		}
		for range most {
			(<-late)()
		}
		for i := range most {
			c.expectID("message_sent", fmt.Sprint(i))
		}
		c.send(fmt.Sprintf(send, 1))
		(<-late)()
		c.expectID("message_sent", "1")
		gone.send(fmt.Sprintf(send, 1))
		answer := <-late
		gone.hangUp()
		e.awaitConnections(t, 1)
		answer()
		c.quiet()
	})
}

// TestHistoryReadsAreBounded: one at a time for a connection, 16 for a tenant that
// asks alone, half of the places of a node; a drain does not wait for them, and
// Close ends them.
func TestHistoryReadsAreBounded(t *testing.T) {
	const most = 16
	ask := func(id int) string {
		return fmt.Sprintf(`{"type":"get_history","id":"%d","data":{"channel":"tenant:acme:kept"}}`, id)
	}
	many := func(o *edge.Options) { o.MaxConnectionsPerUser = 2 * most }
	inV1(t, many, func(t *testing.T, e *env, dialect string) {
		entered, leave := make(chan struct{}, 2*most), make(chan struct{})
		e.shelf.mu.Lock()
		e.shelf.before = func(ctx context.Context) error {
			entered <- struct{}{}
			select {
			case <-leave:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		e.shelf.mu.Unlock()
		all := make([]*client, most)
		for i := range all {
			all[i] = e.dialAs(t, dialect, who{user: "ann"})
			all[i].send(ask(i))
			<-entered
		}
		all[0].send(ask(100))
		if m := all[0].expectError("rate_limited"); m.ID != "100" {
			t.Errorf("got %s", m.Text)
		}
		other := e.dialAs(t, dialect, who{user: "ann"})
		other.send(ask(101))
		if m := other.expectError("unavailable"); m.ID != "101" {
			t.Errorf("got %s", m.Text)
		}
		close(leave)
		for i, c := range all {
			c.expectID("history", fmt.Sprint(i))
		}
		// A place is free when the answer is there, or in a moment.
		eventually(t, func() error {
			other.send(ask(102))
			if m := other.next(); m.Type != "history" {
				return fmt.Errorf("got %s", m.Text)
			}
			return nil
		})
		// What is under way ends with the hub.
		e.shelf.mu.Lock()
		e.shelf.before = func(ctx context.Context) error {
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		e.shelf.mu.Unlock()
		for len(entered) > 0 {
			<-entered
		}
		other.send(ask(103))
		<-entered
		// The environment closes the hub at the end.
	})
}

// TestHistoryFails: what the history can't do is an error.
func TestHistoryFails(t *testing.T) {
	inV1(t, nil, func(t *testing.T, e *env, dialect string) {
		e.shelf.mu.Lock()
		e.shelf.before = func(context.Context) error { return fmt.Errorf("secret: %w", message.ErrUnavailable) }
		e.shelf.mu.Unlock()
		c := e.dialAs(t, dialect, who{})
		c.send(`{"type":"get_history","id":"1","data":{"channel":"tenant:acme:kept"}}`)
		if m := c.expectError("unavailable"); m.ID != "1" || strings.Contains(m.Text, "secret") {
			t.Errorf("got %s", m.Text)
		}
	})
}
