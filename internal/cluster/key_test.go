package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

func keyed(target address.Target, payload, key string) *message.Message {
	m := msg(target, payload)
	m.Key = key
	return m
}

func TestKeys(t *testing.T) {
	onEachStore(t, func(t *testing.T, nodes []*node) {
		a, b := nodes[0], nodes[len(nodes)-1]
		targets := map[string]address.Target{
			"stored":   channelOf(t, "acme", "log:keys"),
			"user":     userOf(t, "acme", "ann"),
			"unstored": channelOf(t, "acme", "plain"),
			"tenant":   tenantOf(t, "acme"),
			"all":      address.AllTarget(),
		}
		for name, target := range targets {
			t.Run(name, func(t *testing.T) {
				b.acquire(t, target)
				key := "key of " + name
				sent := keyed(target, "content of "+name, key)
				first := a.accept(t, sent)
				again := b.accept(t, keyed(target, "content of "+name, key))
				if first.ID != sent.ID || first.Duplicate {
					t.Errorf("first %+v", first)
				}
				if again.ID != sent.ID || !again.Duplicate || again.Position != first.Position {
					t.Errorf("again %+v, want what it was first: %+v", again, first)
				}
				if stored := a.Keeps(target); first.Position.IsZero() == stored {
					t.Errorf("position %+v", first.Position)
				}
				_, err := b.Publish(t.Context(), keyed(target, "other", key))
				if !errors.Is(err, message.ErrKeyConflict) {
					t.Errorf("other content: %v", err)
				}
				b.accept(t, keyed(target, "fence of "+name, key+" fence"))
				b.sink.awaitPayload(t, "fence of "+name)
				count := 0
				for _, p := range b.sink.payloads() {
					if p == "content of "+name {
						count++
					}
				}
				if count != 1 {
					t.Errorf("came %d times", count)
				}
				b.sink.noneOf(t, "other")
			})
		}
	})
}

func TestKeysBelongToTheirTenant(t *testing.T) {
	n := startStore(t, t.TempDir())
	for _, target := range []address.Target{
		channelOf(t, "1", "log:c"), channelOf(t, "10", "log:c"), channelOf(t, "3", "public:c"), tenantOf(t, "2"), address.AllTarget(),
	} {
		if got := n.accept(t, keyed(target, "content", "k")); got.Duplicate {
			t.Errorf("%v: duplicate", target)
		}
	}
	// Another target of the tenant is other content.
	if _, err := n.Publish(t.Context(), keyed(channelOf(t, "1", "log:d"), "content", "k")); !errors.Is(err, message.ErrKeyConflict) {
		t.Errorf("other target: %v", err)
	}
}

// TestKeyOfClient: when and by which connection it was sent is no content.
func TestKeyOfClient(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:client")
	client := func(text, sender, connection, at string) *message.Message {
		m := keyed(target, fmt.Sprintf(`{"type":"channel_message","data":{"channel":"log:client","message":%s,`+
			`"sender":{"id":%q,"connectionId":%q},"timestamp":%q}}`, text, sender, connection, at), "k")
		m.FromClient = true
		return m
	}
	first := n.accept(t, client(`{"a":1}`, "ann", "c1", "t1"))
	if got := n.accept(t, client(`{"a":1}`, "ann", "c2", "t2")); !got.Duplicate || got.ID != first.ID {
		t.Errorf("sent again: %+v", got)
	}
	for _, other := range []*message.Message{client(`{"a":2}`, "ann", "c1", "t1"), client(`{"a":1}`, "bob", "c1", "t1")} {
		if _, err := n.Publish(t.Context(), other); !errors.Is(err, message.ErrKeyConflict) {
			t.Errorf("%s: %v", other.Payload, err)
		}
	}
}

// TestKeyOfTrimmed: when the first one is gone, it is still known that it was.
func TestKeyOfTrimmed(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:trimmed")
	first := n.acceptMortal(t, target, "x", "k")
	eventually(t, "trimmed", func() bool {
		a, err := n.Publish(t.Context(), keyed(target, "x", "k"))
		if err != nil || !a.Duplicate || a.Position != first.Position {
			t.Fatalf("again: %+v, %v", a, err)
		}
		return a.ID.IsZero()
	})
}

// TestKeyStaysSecret: what a publisher calls a message is not for others to read.
func TestKeyStaysSecret(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	n := startStoring(t, srv, 1)[0]
	nc := tap(t, srv.ClientURL())
	all := make(chan *nats.Msg, 1024)
	if _, err := nc.ChanSubscribe(">", all); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	for _, target := range []address.Target{channelOf(t, "acme", "log:1"), tenantOf(t, "acme")} {
		n.accept(t, keyed(target, "content", "sesame"))
	}
	copies := 0
	for copies < 4 {
		msg := <-all
		if strings.Contains(fmt.Sprint(msg.Subject, msg.Header, string(msg.Data)), "sesame") {
			t.Errorf("the key is in a message on %s", msg.Subject)
		}
		if strings.Contains(string(msg.Data), "content") {
			copies++
		}
	}
}
