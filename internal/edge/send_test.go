package edge_test

import (
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

// TestKeyBelongsToItsSender: the same key of others is another key, also in a
// channel of all tenants; the same user has the same one on each connection.
func TestKeyBelongsToItsSender(t *testing.T) {
	e := newEnv(t, func(o *edge.Options) { o.Policy = auth.Policy{PublicPublish: true} })
	keys := make(chan string, 1)
	e.bus.set(func(b *fakeBus) {
		b.accept = func(m *message.Message) (message.Accepted, error) {
			keys <- m.Key
			return message.Accepted{ID: m.ID}, nil
		}
	})
	keyOf := func(w who) string {
		c := e.dialAs(t, jsonDialect, w)
		c.send(request("send_message", `"channel":"public:news","message":1,"key":"k"`))
		c.fence()
		return <-keys
	}
	ann := keyOf(who{tenant: "acme", user: "ann"})
	if again := keyOf(who{tenant: "acme", user: "ann"}); again != ann {
		t.Errorf("the key is %q, and then %q", ann, again)
	}
	for name, w := range map[string]who{
		"another user":                {tenant: "acme", user: "bob"},
		"that user of another tenant": {tenant: "other", user: "ann"},
		"nobody":                      {tenant: "acme"},
	} {
		if keyOf(w) == ann {
			t.Errorf("%s has the same key", name)
		}
	}
}

// TestDuplicateOfWhatIsGone: when the first message with a key is no longer kept,
// nobody knows its id, nor when it came.
func TestDuplicateOfWhatIsGone(t *testing.T) {
	e := newEnv(t, nil)
	e.bus.set(func(b *fakeBus) {
		b.accept = func(*message.Message) (message.Accepted, error) { return message.Accepted{Duplicate: true}, nil }
	})
	c := e.dialAs(t, jsonDialect, who{user: "ann"})
	c.send(request("send_message", `"channel":"tenant:acme:x","message":1,"key":"k"`))
	c.fence()
	c.send(`{"type":"send_message","id":"1","data":{"channel":"tenant:acme:x","message":1,"key":"k"}}`)
	sent := c.expect("message_sent")
	if id := sent.Field("messageId"); id != "" {
		t.Errorf("the id is %q", id)
	}
	if at, err := time.Parse(time.RFC3339, sent.Field("timestamp")); err != nil || time.Since(at) > time.Hour {
		t.Errorf("the time is %s, %v", at, err)
	}
}
