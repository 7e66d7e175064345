package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

// refusal is one request and the error it is answered with.
type refusal struct {
	name, request string
	code, text    string
}

const badFormat = "Invalid message format"

// badEnvelopes are texts that are no request at all.
func badEnvelopes() []refusal {
	var all []refusal
	for name, text := range map[string]string{
		"empty": "", "blank": " \n", "no JSON": "hello", "cut": `{"type":"ping"`, "only a brace": "{",
		"null": "null", "number": "1", "string": `"ping"`, "true": "true",
		"array": "[]", "array of requests": `[{"type":"ping"}]`,
		"batch of lines": "{\"type\":\"ping\"}\n{\"type\":\"ping\"}", "batch of CRLF lines": "{\"type\":\"ping\"}\r\n{\"type\":\"ping\"}\r\n",
		"trailing text": `{"type":"ping"}x`, "trailing comma": `{"type":"ping"},`, "trailing brace": `{"type":"ping"}}`,
		"comma before the end": `{"type":"ping",}`, "single quotes": `{'type':'ping'}`, "bare name": `{type:"ping"}`,
		"comment": `{"type":"ping"/**/}`, "NaN": `{"type":"ping","data":{"x":NaN}}`, "leading zero": `{"type":"ping","x":01}`,
		"plus": `{"type":"ping","x":+1}`, "dot": `{"type":"ping","x":.5}`, "BOM": "\ufeff" + `{"type":"ping"}`,
		"control character": "{\"type\":\"ping\",\"x\":\"\x01\"}", "tab in a string": "{\"type\":\"pi\tng\"}",
		"lone surrogate": `{"type":"ping","id":"\ud800"}`, "lone surrogate in what is ignored": `{"type":"ping","x":"\udc00"}`,
		"bad escape": `{"type":"\x70ing"}`, "NUL": "{\"type\":\"ping\"}\x00",
		"type twice": `{"type":"ping","type":"ping"}`, "type twice, escaped": `{"type":"ping","\u0074ype":"ping"}`,
		"id twice": `{"type":"ping","id":"a","id":"a"}`, "data twice": `{"type":"ping","data":{},"data":{}}`,
		"unknown name twice":     `{"type":"ping","x":1,"x":1}`,
		"name twice in the data": `{"type":"ping","data":{"x":1,"x":1}}`,
		"name twice far down":    `{"type":"ping","data":{"x":[{"y":{"z":1,"z":2}}]}}`,
		"id twice, no type":      `{"id":"a","id":"a"}`,
		"no type":                `{}`, "type in capitals": `{"Type":"ping"}`, "type null": `{"type":null}`, "type number": `{"type":1}`,
		"type true": `{"type":true}`, "type array": `{"type":["ping"]}`, "type object": `{"type":{}}`,
		"data null": `{"type":"ping","data":null}`, "data number": `{"type":"ping","data":0}`, "data string": `{"type":"ping","data":"{}"}`,
		"data array": `{"type":"ping","data":[]}`, "data false": `{"type":"ping","data":false}`,
		"too deep": strings.Repeat("[", 64<<10), "too deep within": `{"type":"ping","data":` + strings.Repeat(`{"a":`, 20_000),
	} {
		all = append(all, refusal{"envelope/" + name, text, "bad_request", badFormat})
	}
	return all
}

// badData are requests of every type whose data is wrong.
func badData() []refusal {
	var all []refusal
	add := func(name, text, code, reason string) {
		all = append(all, refusal{name, text, code, reason})
	}
	good := map[string]string{
		"join_channel":            `"channel":"tenant:acme"`,
		"leave_channel":           `"channel":"tenant:acme"`,
		"send_message":            `"channel":"tenant:acme","message":1`,
		"subscribe_notifications": `"types":["order"]`,
	}
	for kind, members := range good {
		add(kind+"/no data", `{"type":"`+kind+`"}`, "bad_request", badFormat)
		add(kind+"/data null", `{"type":"`+kind+`","data":null}`, "bad_request", badFormat)
		add(kind+"/data array", `{"type":"`+kind+`","data":[{`+members+`}]}`, "bad_request", badFormat)
		add(kind+"/data string", `{"type":"`+kind+`","data":"tenant:acme"}`, "bad_request", badFormat)
		add(kind+"/data empty", request(kind, ""), "bad_request", badFormat)
		add(kind+"/members outside of data", `{"type":"`+kind+`",`+members+`}`, "bad_request", badFormat)
		add(kind+"/name twice", request(kind, members+","+members), "bad_request", badFormat)
		add(kind+"/names in capitals", request(kind, strings.ToUpper(members[:9])+members[9:]), "bad_request", badFormat)
		if kind == "subscribe_notifications" {
			continue
		}
		for name, value := range map[string]string{
			"null": "null", "number": "1", "true": "true", "array": `["tenant:acme"]`, "object": `{"name":"tenant:acme"}`,
		} {
			add(kind+"/channel "+name, request(kind, strings.Replace(members, `"tenant:acme"`, value, 1)), "bad_request", badFormat)
		}
		for _, c := range badChannels() {
			add(kind+"/channel "+c.name, request(kind, strings.Replace(members, `"tenant:acme"`, c.value, 1)),
				"invalid_channel", "Invalid channel: channel "+c.reason)
		}
	}
	add("send_message/no message", request("send_message", `"channel":"tenant:acme"`), "bad_request", badFormat)
	add("send_message/no channel", request("send_message", `"message":"x"`), "bad_request", badFormat)
	for name, value := range map[string]string{
		"null": "null", "string": `"order"`, "object": `{"0":"order"}`, "array of numbers": "[1]",
		"array with null among them": `["a",{}]`, "nested": `[["order"]]`,
	} {
		add("subscribe_notifications/types "+name, request("subscribe_notifications", `"types":`+value), "bad_request", badFormat)
	}
	many := `"types":["x"` + strings.Repeat(`,"x"`, 32) + `]`
	add("subscribe_notifications/33 types", request("subscribe_notifications", many),
		"bad_request", "At most 32 notification types at once")
	for value, reason := range map[string]string{
		`""`: "must not be empty", quote(strings.Repeat("x", 65)): "must not be longer than 64 bytes", `"a:b"`: "must not contain ':'",
		`"*"`: "must not be a wildcard", `"**"`: "must not be a wildcard",
		`"a b"`: "must not contain white space or control characters", `"\u0000"`: "must not contain white space or control characters",
	} {
		add("subscribe_notifications/type "+value, request("subscribe_notifications", `"types":["good",`+value+`]`),
			"bad_request", "Invalid types: notification type "+reason)
	}
	return all
}

// badChannels break each rule for channel names; value is JSON.
func badChannels() []struct{ name, value, reason string } {
	const (
		blank = "must not contain white space or control characters"
		empty = "must not have an empty segment"
		wild  = "must not have a wildcard segment"
	)
	return []struct{ name, value, reason string }{
		{"empty", `""`, "must not be empty"},
		{"too long", quote(strings.Repeat("x", 201)), "must not be longer than 200 bytes"},
		{"too long in bytes", quote(strings.Repeat("é", 101)), "must not be longer than 200 bytes"},
		{"with a blank", `"tenant:acme:a b"`, blank},
		{"with a line end", `"tenant:acme:\r\n"`, blank},
		{"with a no-break space", `"tenant:acme:\u00a0"`, blank},
		{"with a NUL", `"tenant:acme:\u0000"`, blank},
		{"with an escape character", `"tenant:acme:\u001b[31m"`, blank},
		{"only a colon", `":"`, empty},
		{"colon first", `":tenant:acme"`, empty},
		{"colon last", `"tenant:acme:"`, empty},
		{"two colons", `"tenant::acme"`, empty},
		{"wildcard", `"*"`, wild},
		{"wildcards", `"**"`, wild},
		{"wildcard last", `"tenant:acme:*"`, wild},
		{"wildcards within", `"tenant:**:x"`, wild},
	}
}

func badTypes() []refusal {
	const prefix = "Unknown message type: "
	var all []refusal
	for name, kind := range map[string]string{
		"empty": "", "other": "nonsense", "capitals": "PING", "blank before": " ping", "blank behind": "ping ", "prefix": "pin",
		"longer": "pings", "server's own": "channel_message", "error": "error", "v1": "get_history", "quote": `"`, "not ASCII": "ü",
	} {
		all = append(all, refusal{"type/" + name, `{"type":` + quote(kind) + `}`, "unknown_type", prefix + kind})
	}
	return append(all,
		refusal{"type/long", `{"type":"` + strings.Repeat("x", 10_000) + `"}`, "unknown_type", prefix + strings.Repeat("x", 64)},
		refusal{"type/long, cut in a character", `{"type":"x` + strings.Repeat("é", 100) + `"}`, "unknown_type", prefix + "x" + strings.Repeat("é", 31)},
		refusal{"type/in spite of its data", request("nonsense", `"channel":"*"`), "unknown_type", prefix + "nonsense"},
	)
}

// TestRefusals: everything that is wrong with a request is said, in fixed
// words, and the connection stays. Nothing is joined or sent by it.
func TestRefusals(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		for _, r := range append(append(badEnvelopes(), badData()...), badTypes()...) {
			c.send(r.request)
			m := c.next()
			text, err := json.Marshal(r.text)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"type":"error","data":{"error":%s,"code":%q}}`, text, r.code)
			if m.Text != want {
				t.Errorf("%s\ngot  %s\nwant %s", r.name, m.Text, want)
			}
		}
		c.quiet()
		if totals := e.hub.Totals(); totals.Channels != 0 {
			t.Errorf("%d channels were joined", totals.Channels)
		}
	})
}

// TestRefusalsEchoIDs: an id comes back with any error, unless the text is not
// strict JSON.
func TestRefusalsEchoIDs(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		for _, r := range append(badData(), badTypes()...) {
			c.send(`{"id":"i-1",` + strings.TrimPrefix(r.request, "{"))
			want := "i-1"
			if strings.HasSuffix(r.name, "/name twice") {
				want = ""
			}
			if m := c.expectError(r.code); m.ID != want {
				t.Errorf("%s: %s", r.name, m.Text)
			}
		}
	})
}

// TestEveryErrorCode produces each code in command.go.
func TestEveryErrorCode(t *testing.T) {
	produce := map[string]func(*env, *client) string{
		"bad_request":   func(*env, *client) string { return "{}" },
		"unknown_type":  func(*env, *client) string { return `{"type":"x"}` },
		"rate_limited":  func(*env, *client) string { return strings.Repeat(" ", 10) + `{"type":"ping"}` },
		"channel_limit": func(*env, *client) string { return request("join_channel", `"channel":"tenant:acme:2"`) },
		"invalid_channel": func(*env, *client) string {
			return request("join_channel", `"channel":""`)
		},
		"permission_denied": func(*env, *client) string {
			return request("join_channel", `"channel":"tenant:other"`)
		},
		"message_too_large": func(e *env, _ *client) string {
			e.bus.set(func(b *fakeBus) { b.refuse = fmt.Errorf("wrapped: %w", message.ErrTooLarge) })
			return request("send_message", `"channel":"tenant:acme","message":1`)
		},
		"unavailable": func(e *env, _ *client) string {
			e.bus.set(func(b *fakeBus) { b.refuse = message.ErrUnavailable })
			return request("send_message", `"channel":"tenant:acme","message":1`)
		},
		"key_conflict": func(e *env, _ *client) string {
			e.bus.set(func(b *fakeBus) { b.accept = refuseWith(message.ErrKeyConflict) })
			return request("send_message", `"channel":"tenant:acme","message":1,"key":"k"`)
		},
		"not_available": func(*env, *client) string {
			return request("get_history", `"channel":"tenant:acme"`)
		},
		"unrecoverable": func(*env, *client) string {
			return request("get_history", `"channel":"tenant:acme:kept","since":{"epoch":"old","offset":"1"}`)
		},
	}
	codes := constants(t, "command.go", "code")
	for name, code := range codes {
		if produce[code] == nil {
			t.Errorf("no test produces %s", name)
		}
	}
	if len(codes) != len(produce) {
		t.Errorf("command.go has %d codes, the test %d", len(codes), len(produce))
	}
	for code, prepare := range produce {
		t.Run(code, func(t *testing.T) {
			limit := func(o *edge.Options) {
				o.MaxChannelsPerConnection = 1
				if code == "rate_limited" {
					o.InboundRate, o.InboundBurst = 0.001, 1
				}
			}
			onEachKeepingDriver(t, limit, func(t *testing.T, e *env) {
				c := e.dialAs(t, jsonDialect, who{})
				c.join("tenant:acme:1")
				c.send(prepare(e, c))
				c.expectError(code)
				if got := e.metric(t, "pushd_edge_errors_total", code); got != 1 {
					t.Errorf("counted %g", got)
				}
			})
		})
	}
}

// TestRateLimit: what is over the rate is dropped with an error that carries
// its id, and pings of the WebSocket count and are dropped without a word.
func TestRateLimit(t *testing.T) {
	limit := func(o *edge.Options) { o.InboundRate, o.InboundBurst = 0.001, 3 }
	onEachDriver(t, limit, func(t *testing.T, e *env) {
		c := e.dial(t, who{})
		for i := range 5 {
			c.send(fmt.Sprintf(`{"type":"join_channel","id":"%d","data":{"channel":"tenant:acme:%d"}}`, i, i))
		}
		for i := range 3 {
			if m := c.expect("channel_joined"); m.ID != fmt.Sprint(i) {
				t.Errorf("got %s", m.Text)
			}
		}
		for i := 3; i < 5; i++ {
			c.expectText(fmt.Sprintf(`{"type":"error","id":"%d","data":{"error":"Too many messages","code":"rate_limited"}}`, i))
		}
		if got := e.hub.Totals().Channels; got != 3 {
			t.Errorf("%d channels", got)
		}
	})
}

// TestRateLimitEases: the connection goes on when the rate allows.
func TestRateLimitEases(t *testing.T) {
	limit := func(o *edge.Options) { o.InboundRate, o.InboundBurst = 4, 3 }
	onEachDriver(t, limit, func(t *testing.T, e *env) {
		c := e.dial(t, who{})
		ask := func() string {
			c.send(`{"type":"ping","id":"x"}`)
			return c.next().Type
		}
		eventually(t, func() error { // a busy machine keeps within the rate
			for range 50 {
				if ask() == "error" {
					return nil
				}
			}
			return errors.New("never refused")
		})
		for ask() != "pong" {
		}
	})
}

// TestChannelLimit: 128 channels are the most, notifications among them, and
// what is over is refused whole.
func TestChannelLimit(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		for i := range 126 {
			c.join(fmt.Sprintf("tenant:acme:%d", i))
		}
		const fault = `{"type":"error","data":{"error":"At most 128 channels per connection","code":"channel_limit"}}`
		subscribe := func(types string) { c.send(request("subscribe_notifications", `"types":[`+types+`]`)) }

		subscribe(`"a","b","c"`)
		c.expectText(fault)
		if n := e.bus.count(channelTarget("acme", "notifications:acme:ann:a")); n != 0 {
			t.Errorf("%d references to a channel of a refused subscription", n)
		}
		subscribe(`"a","b"`)
		c.expect("notifications_subscribed")
		subscribe(`"c"`)
		c.expectText(fault)
		subscribe(`"b","a"`)
		c.expect("notifications_subscribed")

		c.send(request("join_channel", `"channel":"tenant:acme:new"`))
		c.expectText(fault)
		c.join("tenant:acme:7")
		c.leave("tenant:acme:7")
		c.join("tenant:acme:new")
		c.send(request("join_channel", `"channel":"tenant:acme:7"`))
		c.expectText(fault)
		if got := e.hub.Totals().Channels; got != 128 {
			t.Errorf("%d channels", got)
		}
		// The refused types don't filter: c is not subscribed to.
		e.notify(userTarget("acme", "ann"), "c", `{"type":"notification","data":1}`)
		c.quiet()
	})
}

// TestTypeLimit: types that have no channel are bounded all the same.
func TestTypeLimit(t *testing.T) {
	limit := func(o *edge.Options) { o.MaxChannelsPerConnection = 4 }
	onEachDriver(t, limit, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "a:b"})
		subscribe := func(types string) { c.send(request("subscribe_notifications", `"types":[`+types+`]`)) }
		subscribe(`"1","2","3"`)
		c.expect("notifications_subscribed")
		subscribe(`"4","5"`)
		c.expectError("channel_limit")
		subscribe(`"3","4"`)
		c.expect("notifications_subscribed")
		subscribe(`"1","2","3","4"`)
		c.expect("notifications_subscribed")
		subscribe(`"5"`)
		c.expectError("channel_limit")
		e.notify(userTarget("acme", "a:b"), "5", `{"type":"notification","data":5}`)
		e.notify(userTarget("acme", "a:b"), "4", `{"type":"notification","data":4}`)
		c.expectText(`{"type":"notification","data":4}`)
	})
}

// notify delivers a notification with a type.
func (e *env) notify(target address.Target, kind, payload string) {
	e.hub.Deliver(&message.Message{ID: message.NewID(), Target: target, NotificationType: kind, Payload: []byte(payload)})
}
