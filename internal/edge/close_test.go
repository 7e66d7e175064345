package edge_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/test/harness"
)

// closing makes the server close a connection with a code and a reason.
type closing struct {
	name   string
	code   ws.StatusCode
	reason string
	change tweak
	// provoke makes a connection that gets the close frame.
	provoke func(*testing.T, *env) *client
}

// closings has every way to be closed.
func closings() []closing {
	all := []closing{
		{"drain", 4000, "drain", nil, func(t *testing.T, e *env) *client {
			c := e.dial(t, who{})
			t.Cleanup(e.drainAside(t, context.Background()))
			return c
		}},
		{"close now", 1001, "going away", func(o *edge.Options) { o.DrainWindow = time.Hour }, func(t *testing.T, e *env) *client {
			first, second := e.dial(t, who{}), e.dial(t, who{})
			t.Cleanup(e.drainAside(t, context.Background()))
			// One of the two has its turn at once, with 4000.
			eventually(t, func() error { return wantEqual(e.metric(t, "pushd_edge_closed_total", "4000"), 1) })
			e.server.CloseNow()
			if first.end().Code == 1001 {
				second.expectClose(4000)
				return first
			}
			return second
		}},
		{"interest fails", 4100, "overloaded", nil, func(t *testing.T, e *env) *client {
			e.bus.holdBack(address.KindTenant, address.KindAll)
			c := e.upgrade(t, "/ws", token(t, who{user: "ann"}))
			e.bus.awaitHeld(t, 2)
			e.bus.settle(message.ErrUnavailable)
			return c
		}},
		{"slow consumer", 4101, "slow_consumer", nil, func(t *testing.T, e *env) *client {
			c := e.dial(t, who{})
			e.overflow(t, tenantTarget("acme"))
			return c
		}},
		{"behind for too long", 4101, "slow_consumer", func(o *edge.Options) {
			o.OutboundMaxAge, o.OutboundQueueBytes = time.Second, 1<<30
		}, func(t *testing.T, e *env) *client {
			c := e.dial(t, who{})
			e.clog(tenantTarget("acme"), 64)
			eventually(t, func() error { return wantEqual(e.metric(t, "pushd_edge_closed_total", "4101"), 1) })
			return c
		}},
		{"idle", 4102, "ping_timeout", quickPings, func(t *testing.T, e *env) *client {
			c := e.dial(t, who{})
			// Pings come, and are not answered while nothing is read.
			eventually(t, func() error { return wantEqual(e.metric(t, "pushd_edge_closed_total", "4102"), 1) })
			return c
		}},
		{"unfinished message", 4102, "message_timeout", func(o *edge.Options) { o.MessageTimeout = time.Second }, func(t *testing.T, e *env) *client {
			c := sending(ws.NewFrame(ws.OpText, false, []byte("x")))(t, e)
			eventually(t, func() error { return wantEqual(e.metricOf(t, "pushd_edge_closed_total", "4102", "message_timeout"), 1) })
			return c
		}},
		{"flood", 4103, "rate_limited", slowRate, flood},
		{"token expires", 4200, "token_expired", nil, func(t *testing.T, e *env) *client {
			for life := 2 * time.Second; ; life *= 3 { // longer than it takes to connect
				c := e.upgrade(t, "/ws", token(t, who{user: "ann", expires: time.Now().Add(life)}))
				m, err := c.Next(t.Context())
				if err == nil && m.Type == "connection" {
					return c
				}
				var closed *harness.Closed
				if !errors.As(err, &closed) || closed.Code != 4200 || life > patience {
					t.Fatalf("got %s, %v", m.Text, err)
				}
			}
		}},
		{"expired token", 4200, "token_expired", nil, func(t *testing.T, e *env) *client {
			return e.upgrade(t, "/ws", token(t, who{expires: time.Now().Add(-time.Minute)}))
		}},
		{"bad token", 4201, "token_invalid", nil, func(t *testing.T, e *env) *client {
			return e.upgrade(t, "/ws", "x.y.z")
		}},
		{"no admin", 4301, "forbidden", nil, func(t *testing.T, e *env) *client {
			return e.upgrade(t, "/ws/admin", token(t, who{user: "ann", roles: []string{"Admin", "admins"}}))
		}},
		{"connection limit", 4303, "connection_limit", func(o *edge.Options) { o.MaxConnectionsPerUser = 2 }, func(t *testing.T, e *env) *client {
			e.dial(t, who{user: "ann"})
			e.dial(t, who{user: "ann"})
			e.dial(t, who{user: "bob"})
			return e.upgrade(t, "/ws", token(t, who{user: "ann"}))
		}},
		{"too large", 1009, "message is too large", func(o *edge.Options) { o.MaxMessageBytes = 1024 }, sending(
			ws.NewTextFrame(make([]byte, 1025)),
		)},
		{"too many fragments", 1009, "message has too many fragments", nil, sending(fragments(1025)...)},
	}
	return append(all, frameClosings()...)
}

// frameClosings are the closes for what a client sends.
func frameClosings() []closing {
	body := func(code uint16, reason string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	unmasked := ws.NewTextFrame([]byte(`{}`))
	rsv := ws.NewTextFrame([]byte(`{}`))
	rsv.Header.Rsv = ws.Rsv(true, false, false)
	return []closing{
		{"echo", 1000, "", nil, sending(ws.NewCloseFrame(body(1000, "bye")))},
		{"echo of nothing", 1000, "", nil, sending(ws.NewCloseFrame(nil))},
		{"echo of an application's code", 3456, "", nil, sending(ws.NewCloseFrame(body(3456, "")))},
		{"not masked", 1002, "frame is not masked", nil, func(t *testing.T, e *env) *client {
			c := e.dial(t, who{})
			if err := ws.WriteFrame(c.Conn(), unmasked); err != nil {
				t.Fatal(err)
			}
			return c
		}},
		{"reserved bit", 1002, "reserved bit is set", nil, sending(rsv)},
		{"close code 1005", 1002, "close code is not allowed", nil, sending(ws.NewCloseFrame(body(1005, "")))},
		{"close code 999", 1002, "close code is not allowed", nil, sending(ws.NewCloseFrame(body(999, "")))},
		{"continuation of nothing", 1002, "continuation without a message", nil, sending(ws.NewFrame(ws.OpContinuation, true, nil))},
		{"binary", 1003, "binary messages are not supported", nil, sending(ws.NewBinaryFrame([]byte{1}))},
		{"bad UTF-8", 1007, "text is not UTF-8", nil, sending(ws.NewTextFrame([]byte("\"\xff\"")))},
		{"bad UTF-8 in a close", 1007, "close reason is not UTF-8", nil, sending(ws.NewCloseFrame(body(1000, "\xff")))},
	}
}

// sending provokes a close with frames.
func sending(frames ...ws.Frame) func(*testing.T, *env) *client {
	return func(t *testing.T, e *env) *client {
		c := e.dial(t, who{})
		for _, f := range frames {
			// A copy, because sending masks in place.
			f.Payload = append([]byte(nil), f.Payload...)
			if err := c.SendFrame(f); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
}

// fragments makes a text message of n frames.
func fragments(n int) []ws.Frame {
	all := make([]ws.Frame, n)
	for i := range all {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpText
		}
		all[i] = ws.NewFrame(op, i == n-1, []byte("x"))
	}
	return all
}

func quickPings(o *edge.Options) { o.PingInterval, o.IdleTimeout = time.Second, 2*time.Second }

func slowRate(o *edge.Options) { o.InboundRate, o.InboundBurst = 2, 2 }

// flood has clients that send too many messages, pings or pongs, until all are
// closed for it.
func flood(t *testing.T, e *env) *client {
	talker, pinger, ponger := e.dial(t, who{}), e.dial(t, who{}), e.dial(t, who{})
	eventually(t, func() error {
		for range 2 {
			// Once the server has closed, an error is what one gets.
			_ = talker.SendText(`{"type":"ping"}`)
			_ = pinger.SendFrame(ws.NewPingFrame([]byte("x")))
			_ = ponger.SendFrame(ws.NewPongFrame([]byte("x")))
		}
		return wantEqual(e.metric(t, "pushd_edge_closed_total", "4103"), 3)
	})
	pinger.expectClose(4103)
	ponger.expectClose(4103)
	return talker
}

// clog delivers n messages of 64 KiB that nobody reads.
func (e *env) clog(target address.Target, n int) {
	for range n {
		e.deliver(target, `{"type":"x","data":"`+strings.Repeat("x", 64<<10)+`"}`)
	}
}

// overflow delivers until a slow consumer was closed.
func (e *env) overflow(t *testing.T, target address.Target) {
	eventually(t, func() error {
		e.clog(target, 8)
		return wantEqual(e.metric(t, "pushd_edge_closed_total", "4101"), 1)
	})
}

// drainAside drains in the background and returns what waits for the end.
func (e *env) drainAside(t *testing.T, ctx context.Context) (wait func()) { //nolint:revive // The test comes first.
	done := make(chan error, 1)
	go func() { done <- e.drain(ctx) }() // ends with the drain, which wait waits for
	return func() {
		if err := <-done; err != nil {
			t.Errorf("drain: %v", err)
		}
	}
}

func wantEqual[T comparable](got, want T) error {
	if got != want {
		return errors.New("not yet")
	}
	return nil
}

// TestCloses: each way to be closed has its code and reason, and each close
// frame is followed by the orderly end of the stream.
func TestCloses(t *testing.T) {
	produced := make(map[string]bool)
	for _, c := range closings() {
		produced[strconv.Itoa(int(c.code))] = true
		t.Run(c.name, func(t *testing.T) {
			onEachDriver(t, c.change, func(t *testing.T, e *env) {
				closed := c.provoke(t, e).end()
				if closed.Code != c.code || closed.Reason != c.reason {
					t.Errorf("%v, want %d %q", closed, c.code, c.reason)
				}
			})
		})
	}
	for name, code := range constants(t, "close.go", "close") {
		if !produced[code] {
			t.Errorf("no test produces %s, %s", name, code)
		}
	}
	for _, code := range []string{"1000", "1001", "1002", "1003", "1007", "1009"} {
		if !produced[code] {
			t.Errorf("no test produces %s", code)
		}
	}
}

// TestCloseFrameSurvivesFlood: a client that goes on sending still gets the
// close frame, and not a reset that overtakes it.
func TestCloseFrameSurvivesFlood(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		var writing sync.WaitGroup
		victims := make(map[string]*client)
		for _, c := range frameClosings() {
			victim := c.provoke(t, e)
			victims[c.name] = victim
			writing.Go(func() { // ends when the server cuts the connection
				garbage := make([]byte, 32<<10)
				for {
					if _, err := victim.Conn().Write(garbage); err != nil {
						return
					}
				}
			})
		}
		for _, c := range frameClosings() {
			if closed := victims[c.name].end(); closed.Code != c.code {
				t.Errorf("%s: %v", c.name, closed)
			}
		}
		e.awaitConnections(t, 0)
		writing.Wait()
	})
}

// TestNothingHappensAfterClose: what a client sends behind its close frame, or
// behind a fault, is not carried out.
func TestNothingHappensAfterClose(t *testing.T) {
	join := ws.NewTextFrame([]byte(request("join_channel", `"channel":"tenant:acme"`)))
	for name, last := range map[string]ws.Frame{
		"close": ws.NewCloseFrame([]byte{3, 232}), "binary": ws.NewBinaryFrame(nil), "reserved": ws.NewFrame(5, true, nil),
	} {
		t.Run(name, func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				c := e.dial(t, who{})
				var all bytes.Buffer
				for _, f := range []ws.Frame{last, join, ws.NewPingFrame(nil), last} {
					f.Payload = bytes.Clone(f.Payload)
					if err := ws.WriteFrame(&all, ws.MaskFrameInPlace(f)); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := c.Conn().Write(all.Bytes()); err != nil {
					t.Fatal(err)
				}
				c.end()
				if got := e.hub.Totals(); got.MessagesIn != 0 || got.Channels != 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestRepliesPrecedeClose: what was asked before the fault is answered, and
// then comes the close frame.
func TestRepliesPrecedeClose(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{})
		for i := range 50 {
			c.send(fmt.Sprintf(`{"type":"ping","id":"%d"}`, i))
		}
		if err := c.SendFrame(ws.NewBinaryFrame(nil)); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if m := c.expect("pong"); m.ID != strconv.Itoa(i) {
				t.Fatalf("got %s", m.Text)
			}
		}
		c.expectClose(1003)
	})
}

// rawHead is an upgrade with a fixed key.
func rawHead(path, token string, fields ...string) string {
	head := "GET " + path + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	for _, field := range fields {
		head += field + "\r\n"
	}
	return head + "\r\n"
}

// exchange sends text on a new connection and returns all that comes until the
// server ends the stream.
func (e *env) exchange(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// rawSession sends the upgrade, the requests and a close frame in one go and
// returns the types of the messages that come back.
func rawSession(t *testing.T, e *env, token string, requests ...string) []string {
	t.Helper()
	var all bytes.Buffer
	all.WriteString(rawHead("/ws", token))
	for _, r := range requests {
		if err := ws.WriteFrame(&all, ws.MaskFrame(ws.NewTextFrame([]byte(r)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.WriteFrame(&all, ws.MaskFrame(ws.NewCloseFrame(nil))); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := strings.Cut(e.exchange(t, all.String()), "\r\n\r\n")
	var types []string
	for r := strings.NewReader(frames); r.Len() > 0; {
		f, err := readFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpText {
			var m harness.Message
			if err := json.Unmarshal(f.Payload, &m); err != nil {
				t.Fatal(err)
			}
			types = append(types, m.Type)
		}
	}
	return types
}

// TestBadTokensLookAlike: every bad token gets the same bytes, on both paths,
// and leaves nothing behind.
func TestBadTokensLookAlike(t *testing.T) {
	good := token(t, who{user: "ann"})
	signed := func(secret string, claims map[string]any) string {
		return must(harness.Sign(secret, claims))
	}
	cut := strings.LastIndexByte(good, '.')
	tokens := map[string]string{
		"none": "", "garbage": "garbage", "dots": "..", "cut": good[:len(good)-1], "no signature": good[:cut+1],
		"none algorithm":    "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".",
		"wrong key":         signed("another secret of thirty-two bytes", map[string]any{"tenantId": "acme"}),
		"wrong and expired": signed("another secret of thirty-two bytes", map[string]any{"tenantId": "acme", "exp": 1}),
		"no tenant":         signed(secret, map[string]any{"sub": "ann"}),
		"bad tenant":        signed(secret, map[string]any{"tenantId": "a:b"}),
		"tenant a number":   signed(secret, map[string]any{"tenantId": 1}),
		"no expiry":         signed(secret, map[string]any{"tenantId": "acme", "exp": nil}),
		"not yet valid":     signed(secret, map[string]any{"tenantId": "acme", "nbf": time.Now().Add(time.Hour).Unix()}),
	}
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		want := ""
		for _, path := range []string{"/ws", "/ws/admin"} {
			for name, token := range tokens {
				got := e.exchange(t, rawHead(path, token))
				if want == "" {
					want = got
				}
				if got != want || !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "\x10\x69token_invalid") {
					t.Errorf("%s, %s: %q", path, name, got)
				}
			}
		}
		if got := e.metric(t, "pushd_edge_tokens_refused_total", "4201"); got != float64(2*len(tokens)) {
			t.Errorf("counted %g", got)
		}
		if got := e.metric(t, "pushd_edge_opened_total", ""); got != 0 {
			t.Errorf("%g connections were registered", got)
		}
	})
}

// TestAdmin: the role opens /ws/admin, and it is an ordinary connection.
func TestAdmin(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.upgrade(t, "/ws/admin", token(t, who{user: "root", roles: []string{"other", "admin"}}))
		c.expect("connection")
		c.join("tenant:acme:admin")
	})
}

// TestCloseCodesOfClients: a client's codes are echoed, but don't make metrics
// of their own.
func TestCloseCodesOfClients(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		for code := uint16(3000); code < 3040; code++ {
			c := e.dial(t, who{})
			if err := c.SendFrame(ws.NewCloseFrame(binary.BigEndian.AppendUint16(nil, code))); err != nil {
				t.Fatal(err)
			}
			c.expectClose(ws.StatusCode(code))
		}
		families := must(e.metrics.Gather())
		for _, f := range families {
			if n := len(f.GetMetric()); n > 20 {
				t.Errorf("%s has %d series", f.GetName(), n)
			}
		}
	})
}

// TestGoneWithoutClose: a client that just goes is counted as 1006.
func TestGoneWithoutClose(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		gone, reset := e.dial(t, who{user: "ann"}), e.dial(t, who{user: "ann"})
		gone.join("tenant:acme:x")
		gone.hangUp()
		if err := reset.Conn().(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		reset.hangUp()
		e.awaitConnections(t, 0)
		if got := e.metric(t, "pushd_edge_closed_total", "1006"); got != 2 {
			t.Errorf("counted %g", got)
		}
	})
}
