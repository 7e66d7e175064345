package cluster

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// recordingSink records what comes.
type recordingSink struct {
	fixedSink
	got chan *message.Message
}

func (s recordingSink) Deliver(m *message.Message) { s.got <- m }

// TestWaitingCopyKeepsItsEpoch: what still waits when another epoch begins is of
// the one in which it came.
func TestWaitingCopyKeepsItsEpoch(t *testing.T) {
	target := mustTarget(t, address.KindChannel, "acme", "log:1")
	m := &message.Message{ID: message.NewID(), Target: target, AcceptedAt: time.Now(), Payload: []byte("x")}
	data, err := (&sealer{self: identity{node: "n1"}}).seal(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	copied := func(offset, previous string) *nats.Msg {
		return &nats.Msg{Subject: prefixCopy + targetTokens(target), Data: data, Header: nats.Header{
			jetstream.StreamHeader: {streamHistory}, jetstream.SubjectHeader: {storeSubject(target)},
			jetstream.SequenceHeader: {offset}, jetstream.LastSequenceHeader: {previous},
		}}
	}
	sink := recordingSink{got: make(chan *message.Message, 2)}
	s := &store{}
	s.epoch.Store(&epoch{id: "old"})
	l := newLanes(DefaultOptions(), sink, s, newMetrics(nil))
	l.put(address.KindChannel, copied("1000", "0"))
	s.epoch.Store(&epoch{id: "new"})
	l.put(address.KindChannel, copied("1", "0"))
	l.start()
	l.close()
	l.wg.Wait()
	for _, want := range []message.Position{{Epoch: "old", Offset: 1000}, {Epoch: "new", Offset: 1}} {
		if m := <-sink.got; m.Position != want {
			t.Errorf("the position is %+v, want %+v", m.Position, want)
		}
	}
}
