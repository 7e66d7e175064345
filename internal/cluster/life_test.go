package cluster_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/message"
)

// TestCopiesOfTheOldLife: a copy that was on its way when the stream began anew
// has an offset of the old epoch. In the new one it would be far ahead, and all
// that comes until then would look as if it had been there.
func TestCopiesOfTheOldLife(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	n := startStoring(t, srv, 1)[0]
	nc := tap(t, srv.ClientURL())
	target := channelOf(t, "1", "log:life")
	n.acquire(t, target)
	copies := make(chan *nats.Msg, 16)
	if _, err := nc.ChanSubscribe("pd1.c.1.>", copies); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	n.store(t, target, "old")
	old := <-copies
	before, _ := n.last(t, target)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	if err := js.DeleteStream(t.Context(), "PD1H"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	epoch := before
	eventually(t, "a new epoch", func() bool {
		e, _, err := n.Last(t.Context(), nil)
		epoch = e
		return err == nil && e != before
	})
	// As if many had been stored before.
	stale := nats.NewMsg(old.Subject)
	stale.Data = old.Data
	for k, v := range old.Header {
		stale.Header[k] = slices.Clone(v)
	}
	at, err := time.Parse(time.RFC3339Nano, old.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		t.Fatalf("the stream does not say when: %v", err)
	}
	stale.Header.Set("Nats-Time-Stamp", at.Add(-time.Minute).Format(time.RFC3339Nano))
	stale.Header.Set("Nats-Sequence", "1000")
	stale.Header.Set("Nats-Last-Sequence", "990")
	if err := nc.PublishMsg(stale); err != nil {
		t.Fatalf("publish: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	n.store(t, target, "new")
	n.sink.await(t, "the new one", func(got []*message.Message) bool {
		return len(got) > 0 && string(got[len(got)-1].Payload) == "new"
	})
	n.sink.await(t, "positions", func(got []*message.Message) bool {
		for _, m := range got {
			want := before
			if string(m.Payload) == "new" {
				want = epoch
			}
			if m.Position.Epoch != want {
				t.Errorf("%s at %+v, want epoch %s", m.Payload, m.Position, want)
			}
		}
		return len(got) == 3
	})
}
