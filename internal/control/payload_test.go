package control

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// FuzzPayload: what is accepted is one JSON object in one line that holds what
// was given, byte for byte but for CR and LF.
func FuzzPayload(f *testing.F) {
	f.Add("news", `{"a":[1,2,{"b":"\n"}]}`)
	f.Add(`a"\`, "\r\n[1 ,\n2]\t")
	f.Add("x", `1},{"y":1`)
	f.Add("x", `{"type":"news"}`)
	f.Add("x", "{\"type\":\n\"\\u0065rror\"}")
	f.Add("x", `{"a":1,"a":2}`)
	f.Add("x", `{"type":"news","\u006dessageId":1}`)
	f.Add("\xff", "\"\xff\"")
	f.Fuzz(func(t *testing.T, eventType, text string) {
		c := composer{limit: 1000}
		want := strings.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, text)

		var asEvent fields
		payload := c.event(&asEvent, eventType, content{field: fieldJSON, text: text})
		if accepted(t, &asEvent, payload) {
			var got struct {
				Type string          `json:"type"`
				Data json.RawMessage `json:"data"`
			}
			decodeStrictly(t, payload, &got)
			if got.Type != eventType || string(got.Data) != strings.TrimSpace(want) || len(text) > c.limit {
				t.Errorf("%q and %q became %s", eventType, text, payload)
			}
			if !bytes.Contains(payload, []byte(want)) {
				t.Errorf("%q is not in %s", want, payload)
			}
		}

		var asNotification fields
		payload = c.notification(&asNotification, content{field: fieldJSON, text: text})
		if accepted(t, &asNotification, payload) && string(payload) != `{"type":"notification","data":`+want+`}` {
			t.Errorf("%q became %s", text, payload)
		}
		if asEvent.err() == nil && asNotification.err() != nil {
			t.Errorf("%q is an event, but no notification", text)
		}

		var asRaw fields
		payload = c.event(&asRaw, "", content{field: fieldRaw, text: text})
		if accepted(t, &asRaw, payload) {
			var got map[string]any
			decodeStrictly(t, payload, &got)
			kind, ok := got["type"].(string)
			for name := range got {
				ok = ok && !isAdded(name)
			}
			if !ok || isReserved(kind) || eventTypeFault(kind) != "" || string(payload) != want {
				t.Errorf("%q became %s", text, payload)
			}
		}
	})
}

// accepted checks that there is a payload if nothing was refused.
func accepted(t *testing.T, f *fields, payload []byte) bool {
	t.Helper()
	ok := f.err() == nil
	if ok && payload == nil {
		t.Error("neither a violation nor a payload")
	}
	if ok && bytes.ContainsAny(payload, "\r\n") {
		t.Errorf("more than one line: %q", payload)
	}
	return ok
}

func decodeStrictly(t *testing.T, payload []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Errorf("%s: %v", payload, err)
	}
	if d.More() {
		t.Errorf("more than one value: %s", payload)
	}
}

// The payload is copied once, into a buffer of its size.
func TestPayloadIsCopiedOnce(t *testing.T) {
	c := composer{limit: 1 << 20}
	given := content{field: fieldJSON, text: `{"text":"` + strings.Repeat("x", 100<<10) + "\",\n\"n\":1}"}
	for name, compose := range map[string]func() []byte{
		"notification": func() []byte { return c.notification(&fields{}, given) },
		"event":        func() []byte { return c.event(&fields{}, `a"b`, given) },
	} {
		t.Run(name, func(t *testing.T) {
			const runs = 50
			var before, after runtime.MemStats
			var payload []byte
			runtime.ReadMemStats(&before)
			for range runs {
				payload = compose()
			}
			runtime.ReadMemStats(&after)
			if perRun := (after.TotalAlloc - before.TotalAlloc) / runs; perRun > uint64(len(given.text)*3/2) {
				t.Errorf("%d bytes are allocated for %d", perRun, len(given.text))
			}
			if cap(payload) > len(given.text)+len(given.text)/4 {
				t.Errorf("%d bytes are kept for %d", cap(payload), len(given.text))
			}
		})
	}
}

func TestReadFaults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"end":       {`{"a":`, "must be one valid JSON value (fault at byte 5)"},
		"second":    {`1 x`, "must be one valid JSON value (fault at byte 2)"},
		"more":      {`1 2`, "must be one valid JSON value (fault at byte 3)"},
		"duplicate": {`{"secret":1,"secret":2}`, "must not have a name twice in one object (at byte 12)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := syntaxFault([]byte(c.text)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Each reason is told once all violations agree on it.
func TestFieldsReason(t *testing.T) {
	for name, c := range map[string]struct {
		reasons []string
		want    string
	}{
		"one":   {[]string{reasonInvalidChannel}, reasonInvalidChannel},
		"same":  {[]string{reasonMessageTooLarge, reasonMessageTooLarge}, reasonMessageTooLarge},
		"mixed": {[]string{reasonInvalidChannel, reasonMessageTooLarge}, reasonBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			var f fields
			for _, reason := range c.reasons {
				f.refuse("a", reason, "x")
			}
			r := refusalOf(f.err())
			if r == nil || r.reason != c.want || r.text != "invalid a" || !slices.Equal(r.violations, f.violations) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

type nullRouter struct{}

func (nullRouter) Publish(context.Context, *message.Message) (message.Accepted, error) {
	return message.Accepted{}, nil
}

func (nullRouter) Submit(m *message.Message, done func(message.Accepted, error)) error {
	done(message.Accepted{ID: m.ID}, nil)
	return nil
}

func (nullRouter) Keeps(address.Target) bool { return false }

func (nullRouter) Read(context.Context, address.Target, history.Query) (*history.Page, error) {
	return &history.Page{}, nil
}

func (nullRouter) Stats(context.Context, stats.Query, bool) (*stats.Cluster, error) {
	return &stats.Cluster{}, nil
}

func (nullRouter) Ready() bool { return true }

// BenchmarkNotifyUser is the handler without network.
func BenchmarkNotifyUser(b *testing.B) {
	for name, text := range map[string]string{
		"100B": `{"text":"` + strings.Repeat("x", 80) + `","n":1}`,
		"10KB": `{"text":"` + strings.Repeat("x", 10<<10) + `","n":1}`,
	} {
		b.Run(name, func(b *testing.B) {
			s := &service{router: nullRouter{}, compose: composer{defaultMaxPayload}}
			r := &pushdv1.NotifyUserRequest{
				TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: text},
			}
			ctx := b.Context()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.NotifyUser(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
