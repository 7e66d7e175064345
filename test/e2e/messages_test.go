package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// badMessages are texts with the code and the text of the error that answers
// them. The connection stays. An empty text is not compared.
func badMessages() map[string]struct{ message, code, text string } {
	const format = "Invalid message format"
	name201 := "public:" + strings.Repeat("x", 194)
	type row = struct{ message, code, text string }
	return map[string]row{
		"empty":                  {``, "bad_request", format},
		"no JSON":                {`hello`, "bad_request", format},
		"cut JSON":               {`{"type":"ping"`, "bad_request", format},
		"two values":             {`{"type":"ping"}{"type":"ping"}`, "bad_request", format},
		"two lines":              {"{\"type\":\"ping\"}\n{\"type\":\"ping\"}", "bad_request", format},
		"a list":                 {`[{"type":"ping"}]`, "bad_request", format},
		"null":                   {`null`, "bad_request", format},
		"no type":                {`{}`, "bad_request", format},
		"type a number":          {`{"type":1}`, "bad_request", format},
		"type twice":             {`{"type":"ping","type":"pong"}`, "bad_request", format},
		"deep":                   {`{"type":"ping","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "bad_request", format},
		"id a number":            {`{"type":"ping","id":1}`, "bad_request", format},
		"id too long":            {`{"type":"ping","id":"` + strings.Repeat("x", 65) + `"}`, "bad_request", format},
		"data a list":            {`{"type":"join_channel","data":[]}`, "bad_request", format},
		"unknown":                {`{"type":"dance"}`, "unknown_type", "Unknown message type: dance"},
		"unknown, capitals":      {`{"type":"PING"}`, "unknown_type", "Unknown message type: PING"},
		"unknown, a server's":    {`{"type":"channel_message"}`, "unknown_type", "Unknown message type: channel_message"},
		"join without data":      {`{"type":"join_channel"}`, "bad_request", format},
		"join without channel":   {`{"type":"join_channel","data":{}}`, "bad_request", format},
		"join a number":          {`{"type":"join_channel","data":{"channel":7}}`, "bad_request", format},
		"join empty":             {`{"type":"join_channel","data":{"channel":""}}`, "invalid_channel", ""},
		"join empty segment":     {`{"type":"join_channel","data":{"channel":"tenant::acme"}}`, "invalid_channel", ""},
		"join a wildcard":        {`{"type":"join_channel","data":{"channel":"tenant:acme:*"}}`, "invalid_channel", ""},
		"join with space":        {`{"type":"join_channel","data":{"channel":"tenant:acme:a b"}}`, "invalid_channel", ""},
		"join with NUL":          {`{"type":"join_channel","data":{"channel":"tenant:acme:\u0000"}}`, "invalid_channel", ""},
		"join a long name":       {`{"type":"join_channel","data":{"channel":"` + name201 + `"}}`, "invalid_channel", ""},
		"join of another tenant": {`{"type":"join_channel","data":{"channel":"tenant:globex"}}`, "permission_denied", "Access denied to channel"},
		"join the unknown":       {`{"type":"join_channel","data":{"channel":"orders"}}`, "permission_denied", "Access denied to channel"},
		"join as admin":          {`{"type":"join_channel","data":{"channel":"tenant:acme:admin"}}`, "permission_denied", "Access denied to channel"},
		"leave a wildcard":       {`{"type":"leave_channel","data":{"channel":"**"}}`, "invalid_channel", ""},
		"send without message":   {`{"type":"send_message","data":{"channel":"tenant:acme"}}`, "bad_request", format},
		"send without channel":   {`{"type":"send_message","data":{"message":1}}`, "bad_request", format},
		"send to another tenant": {`{"type":"send_message","data":{"channel":"tenant:globex","message":1}}`, "permission_denied", "Permission denied"},
		"send to the public":     {`{"type":"send_message","data":{"channel":"public:news","message":1}}`, "permission_denied", "Permission denied"},
		"send a notification":    {`{"type":"send_message","data":{"channel":"notifications:acme:ann:all","message":1}}`, "permission_denied", "Permission denied"},
		"types missing":          {`{"type":"subscribe_notifications","data":{}}`, "bad_request", format},
		"types a text":           {`{"type":"subscribe_notifications","data":{"types":"all"}}`, "bad_request", format},
		"type a wildcard":        {`{"type":"subscribe_notifications","data":{"types":["*"]}}`, "bad_request", ""},
		"type of two segments":   {`{"type":"subscribe_notifications","data":{"types":["a:b"]}}`, "bad_request", ""},
		"33 types":               {`{"type":"subscribe_notifications","data":{"types":["x"` + strings.Repeat(`,"x"`, 32) + `]}}`, "bad_request", ""},
	}
}

func TestBadMessages(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	bystander := connect(ctx, t, n, "acme", "bob")
	join(ctx, t, bystander, "tenant:acme", "public:news")
	s := connect(ctx, t, n, "acme", "ann")
	for name, c := range badMessages() {
		t.Run(name, func(t *testing.T) {
			if err := s.SendText(c.message); err != nil {
				t.Fatal(err)
			}
			m, err := s.Expect(ctx, "error")
			if err != nil {
				t.Fatal(err)
			}
			if m.Field("code") != c.code || c.text != "" && m.Field("error") != c.text {
				t.Errorf("got %s, want %s %q", m.Text, c.code, c.text)
			}
		})
	}
	// Still the same connection, and nobody else has noticed.
	join(ctx, t, s, "tenant:acme")
	checkQuiet(ctx, t, s)
	checkQuiet(ctx, t, bystander)
}

func TestErrorsEchoTheID(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	s := connect(ctx, t, n, "acme", "")
	for request, kind := range map[string]string{
		`{"type":"dance","id":"r\"1"}`:                                              "error",
		`{"type":"join_channel","id":"r\"1","data":{"channel":"orders"}}`:           "error",
		`{"type":"subscribe_notifications","id":"r\"1","data":{"types":["all"]}}`:   "error", // anonymous
		`{"type":"join_channel","id":"r\"1","data":{"channel":"tenant:acme:x"}}`:    "channel_joined",
		`{"type":"leave_channel","id":"r\"1","data":{"channel":"tenant:acme:x"}}`:   "channel_left",
		`{"type":"leave_channel","id":"r\"1","data":{"channel":"tenant:acme:not"}}`: "channel_left",
		`{"id":"r\"1","type":"ping","data":{},"more":[1,{"a":null}]}`:               "pong",
	} {
		if err := s.SendText(request); err != nil {
			t.Fatal(err)
		}
		m, err := s.Expect(ctx, kind)
		if err != nil || m.ID != `r"1` {
			t.Errorf("%s: %s, %v", request, m.Text, err)
		}
	}
}

func TestLimitsOfOneConnection(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--max-channels-per-connection", "3", "--inbound-rate", "0.01", "--inbound-burst", "10")
	s := connect(ctx, t, n, "acme", "ann")
	for i := range 3 {
		join(ctx, t, s, fmt.Sprintf("tenant:acme:%d", i))
	}
	join(ctx, t, s, "tenant:acme:0") // again: no new one
	for _, want := range []string{"channel_limit", "channel_limit"} {
		if err := s.Send("join_channel", map[string]string{"channel": "tenant:acme:more"}); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Expect(ctx, "error"); err != nil || m.Field("code") != want {
			t.Fatalf("%s, %v", m.Text, err)
		}
	}
	for range 4 { // the rest of the burst of 10
		checkQuiet(ctx, t, s)
	}
	if err := s.SendText(`{"type":"ping","id":"one too many"}`); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Expect(ctx, "error"); err != nil || m.Field("code") != "rate_limited" || m.ID != "one too many" {
		t.Errorf("%s, %v", m.Text, err)
	}
}

// Payloads come out as they went in, byte for byte.
func TestPayloadsStayAsTheyAre(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	c := control(t, n)
	ann, bob := connect(ctx, t, n, "acme", "ann"), connect(ctx, t, n, "acme", "bob")
	join(ctx, t, ann, "tenant:acme")
	join(ctx, t, bob, "tenant:acme")
	for name, json := range map[string]string{
		"number beyond doubles": `{"n":12345678901234567890.000100,"e":1E400}`,
		"order and spaces":      `{ "b" : 1, "a" : [ ] }`,
		"escapes":               `"\u00e9\/\u0000<\u2028>"`,
		"null":                  `null`,
		"a megabyte":            `"` + strings.Repeat("é", 500_000) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
				TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: json},
			}); err != nil {
				t.Fatal(err)
			}
			if m, err := ann.Expect(ctx, "notification"); err != nil || m.Text != `{"type":"notification","data":`+json+`}` {
				t.Errorf("notification %.200q, %v", m.Text, err)
			}
			if err := bob.SendText(`{"type":"send_message","data":{"channel":"tenant:acme","message":` + json + `}}`); err != nil {
				t.Fatal(err)
			}
			if m, err := ann.Expect(ctx, "channel_message"); err != nil || !strings.Contains(m.Text, `"message":`+json+`,"sender":`) {
				t.Errorf("message %.200q, %v", m.Text, err)
			}
		})
	}
	checkQuiet(ctx, t, bob)
}
