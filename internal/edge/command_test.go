package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/handshake"
)

// TestParseCommand has what can't be told from the answers: the parts.
func TestParseCommand(t *testing.T) {
	for _, c := range []struct{ text, kind, id, data string }{
		{`{"type":"ping"}`, "ping", "", ""},
		{`{"type":"","id":""}`, "", `""`, ""},
		{` { "data" : { "a" : 1 } , "id" : "\u0031" , "type" : "\u0070" } `, "p", `"\u0031"`, `{ "a" : 1 }`},
		{`{"type":"x","data":{},"more":[{}]}`, "x", "", "{}"},
	} {
		cmd, err := parseCommand([]byte(c.text))
		if err != nil || cmd.kind != c.kind || string(cmd.id) != c.id || string(cmd.data) != c.data {
			t.Errorf("%s: %+v, %v", c.text, cmd, err)
		}
		if (cmd.id == nil) != (c.id == "") || (cmd.data == nil) != (c.data == "") {
			t.Errorf("%s: nil and empty are mixed up", c.text)
		}
	}
}

// TestCommandsAreCopies: the buffer that a command was read from is used again.
func TestCommandsAreCopies(t *testing.T) {
	text := []byte(`{"type":"send_message","id":"i","data":{"channel":"c","message":{"a":1}}}`)
	cmd, err := parseCommand(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := cmd.post()
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'X'
	}
	if cmd.kind != "send_message" || string(cmd.id) != `"i"` || p.channel.String() != "c" || string(p.text) != `{"a":1}` {
		t.Errorf("%+v, %+v", cmd, p)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"é", 1, ""}, {"a😀", 4, "a"}, {"a😀", 5, "a😀"}} {
		if got := clip(c.s, c.n); got != c.want {
			t.Errorf("clip(%q, %d) = %q", c.s, c.n, got)
		}
	}
}

func TestFaultCode(t *testing.T) {
	if code, reason := faultCode(errors.New("secret")); code != 1011 || reason != "" {
		t.Errorf("unknown error: %d %q", code, reason)
	}
	if code, reason := faultCode(fmt.Errorf("wrapped: %w", &closeFault{closeRateLimited})); code != 4103 || reason != "rate_limited" {
		t.Errorf("own fault: %d %q", code, reason)
	}
}

// FuzzParseCommand: what is accepted is a request by the letter of the
// protocol, as encoding/json and a few rules see it.
func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"ping","id":"1","data":{}}`, `{"type":"x","type":"y"}`, `{"id":1}`, `[]`, `{"type":"\ud83d\ude00"}`,
		`{"type":"send_message","id":"\u0000","data":{"channel":"a:b","message":[1,2.50e-7,null,{"x":"y"}]}}`, "{\"type\":\"a\",\n\"data\":{\r\n}}",
		`{"type":"subscribe_notifications","data":{"types":["a","b"]}}`, `{"type":"a","x":{"y":1,"y":2}}`, `{"type":"a"}{}`, `{"type":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return // the frame parser refuses that
		}
		cmd, err := parseCommand(bytes.Clone(text))
		if err != nil {
			var f *fault
			if !errors.As(err, &f) || f.code != codeBadRequest {
				t.Fatalf("refused with %v", err)
			}
			if cmd.id != nil && !json.Valid(cmd.id) {
				t.Fatalf("the id %s would be echoed", cmd.id)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatal("accepted, and is not JSON")
		}
		if name := repeated(json.NewDecoder(bytes.NewReader(text))); name != "" {
			t.Fatalf("accepted, and has %q twice", name)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatalf("accepted, and is no object: %v", err)
		}
		var kind string
		if err := json.Unmarshal(all["type"], &kind); err != nil || kind != cmd.kind || all["type"][0] != '"' {
			t.Fatalf("type is %s, not %q", all["type"], cmd.kind)
		}
		if !bytes.Equal(all["id"], cmd.id) || !bytes.Equal(all["data"], cmd.data) {
			t.Fatalf("parts %s, %s", cmd.id, cmd.data)
		}
		if cmd.data != nil && cmd.data[0] != '{' {
			t.Fatalf("data is %s", cmd.data)
		}
		var id string
		if cmd.id != nil && (json.Unmarshal(cmd.id, &id) != nil || cmd.id[0] != '"' || len(id) > maxRequestID) {
			t.Fatalf("id is %s", cmd.id)
		}
		checkParts(t, cmd)
	})
}

// checkParts reads cmd as every request: what comes out keeps the rules.
func checkParts(t *testing.T, cmd command) {
	t.Helper()
	if c, err := cmd.channel(); err == nil && (c.IsZero() || len(c.String()) > 200 || strings.ContainsAny(c.String(), " \r\n\x00")) {
		t.Fatalf("channel %q", c)
	}
	if p, err := cmd.post(); err == nil && (!json.Valid(p.text) || bytes.ContainsAny(p.text, "\r\n")) {
		t.Fatalf("message %q", p.text)
	}
	types, err := cmd.types()
	if err == nil && (types == nil || len(types) > maxTypes) {
		t.Fatalf("types %q", types)
	}
	for _, kind := range types {
		if kind == "" || len(kind) > 64 || strings.ContainsAny(kind, ": \r\n") {
			t.Fatalf("type %q", kind)
		}
	}
	checkMoreParts(t, cmd)
	c := &conn{loop: &loop{hub: &Hub{}}, dialect: handshake.JSON}
	if frame := errorFrame(c, cmd, errInvalidFormat); !json.Valid(frame.Bytes()[headerLen(frame.Len()):]) {
		t.Fatalf("the error is %q", frame.Bytes())
	}
}

// checkMoreParts is checkParts for what the plain dialect does not have.
func checkMoreParts(t *testing.T, cmd command) {
	t.Helper()
	if from, err := cmd.resume(); err == nil && from != nil && from.epoch == "" {
		t.Fatalf("resume %+v", from)
	}
	if e, err := cmd.excerpt(); err == nil && (e.limit < 1 || e.limit > maxHistory || e.channel.IsZero()) {
		t.Fatalf("excerpt %+v", e)
	}
	if ids, err := cmd.acked(); err == nil && (len(ids) == 0 || len(ids) > maxAcks) {
		t.Fatalf("%d acks", len(ids))
	}
	c := &conn{principal: &auth.Principal{}}
	if p, err := cmd.post(); err == nil {
		if key, err := c.parseKey(p.key); err == nil && (len(key) > maxKey || (key == "") != (p.key == nil)) {
			t.Fatalf("key %q of %s", key, p.key)
		}
	}
}

// headerLen is the length of the header of a frame of n bytes.
func headerLen(n int) int {
	switch {
	case n < 2+126:
		return 2
	case n <= 4+1<<16-1:
		return 4
	default:
		return 10
	}
}

// repeated returns a name that stands twice in one object; empty: none does.
func repeated(d *json.Decoder) string {
	type level struct {
		object, value bool // value: a name was read, its value comes next
		names         map[string]bool
	}
	var stack []level
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return ""
		}
		top := len(stack) - 1
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:top]
			continue
		}
		if top >= 0 && stack[top].object {
			if name, ok := tok.(string); ok && !stack[top].value {
				if stack[top].names[name] {
					return name
				}
				stack[top].names[name], stack[top].value = true, true
				continue
			}
			stack[top].value = false
		}
		if delim, ok := tok.(json.Delim); ok {
			stack = append(stack, level{object: delim == '{', names: make(map[string]bool)})
		}
	}
}
