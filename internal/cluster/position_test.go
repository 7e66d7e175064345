package cluster

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

func TestCopyPosition(t *testing.T) {
	const stored, source = "pd1.c.acme.17.room=3A1", "pdh1.acme.17.room=3A1"
	header := func(stream, subject, seq, last string) nats.Header {
		return nats.Header{
			"Nats-Stream": {stream}, "Nats-Subject": {subject}, "Nats-Sequence": {seq}, "Nats-Last-Sequence": {last},
		}
	}
	for _, c := range []struct {
		name, subject    string
		header           nats.Header
		offset, previous uint64
		ok               bool
	}{
		{"stored", stored, header("PD1H", source, "7", "3"), 7, 3, true},
		{"first", stored, header("PD1H", source, "7", "0"), 7, 0, true},
		{"largest", stored, header("PD1H", source, "18446744073709551615", "18446744073709551614"), 1<<64 - 1, 1<<64 - 2, true},
		{"no header", stored, nil, 0, 0, false},
		{"zero", stored, header("PD1H", source, "0", "0"), 0, 0, false},
		{"backwards", stored, header("PD1H", source, "7", "7"), 0, 0, false},
		{"sign", stored, header("PD1H", source, "+7", "3"), 0, 0, false},
		{"zeros", stored, header("PD1H", source, "07", "3"), 0, 0, false},
		{"too large", stored, header("PD1H", source, "18446744073709551616", "3"), 0, 0, false},
		{"no last", stored, header("PD1H", source, "7", ""), 0, 0, false},
		{"other stream", stored, header("PD1K", source, "7", "3"), 0, 0, false},
		{"other subject", stored, header("PD1H", source+"1", "7", "3"), 0, 0, false},
		{"live", "pd1.e.acme.17.room=3A1", nil, 0, 0, true},
		{"live with headers of its own", "pd1.e.acme.17.room=3A1", nats.Header{"X": {"1"}}, 0, 0, true},
		{"keyed", "pd1.e.acme.17.room=3A1", header("PD1K", "pdk1.e.acme.17.room=3A1", "7", "3"), 0, 0, true},
		{"keyed for a tenant", "pd1.t.acme", header("PD1K", "pdk1.t.acme", "7", "3"), 0, 0, true},
		{"keyed for all", "pd1.a", header("PD1K", "pdk1.a", "7", "3"), 0, 0, true},
		{"keyed elsewhere", "pd1.a", header("PD1K", "pdk1.t.acme", "7", "3"), 0, 0, false},
		{"stored on what is not", "pd1.e.acme.17.room=3A1", header("PD1H", source, "7", "3"), 0, 0, false},
	} {
		offset, previous, ok := copyPosition(&nats.Msg{Subject: c.subject, Header: c.header})
		if offset != c.offset || previous != c.previous || ok != c.ok {
			t.Errorf("%s: %d after %d, %v", c.name, offset, previous, ok)
		}
	}
}

// FuzzCopyPosition: a position is only what the stream wrote for that subject.
func FuzzCopyPosition(f *testing.F) {
	f.Add("pd1.c.acme.17.room", "PD1H", "pdh1.acme.17.room", "7", "3")
	f.Add("pd1.e.acme.17.room", "PD1K", "pdk1.e.acme.17.room", "7", "3")
	f.Fuzz(func(t *testing.T, subject, stream, source, seq, last string) {
		offset, previous, ok := copyPosition(&nats.Msg{Subject: subject, Header: nats.Header{
			"Nats-Stream": {stream}, "Nats-Subject": {source}, "Nats-Sequence": {seq}, "Nats-Last-Sequence": {last},
		}})
		if offset != 0 && (!ok || !isCopy(subject) || stream != streamHistory || prefixCopy+source[len(prefixStore):] != subject ||
			strconv.FormatUint(offset, 10) != seq || strconv.FormatUint(previous, 10) != last || previous >= offset) {
			t.Fatalf("%q has position %d after %d", subject, offset, previous)
		}
		if ok && isCopy(subject) != (offset != 0) {
			t.Fatalf("%q: position %d", subject, offset)
		}
	})
}

func TestPositionNeedsAnEpoch(t *testing.T) {
	m := &message.Message{ID: message.NewID(), Target: mustTarget(t, address.KindChannel, "acme", "room:1"), Payload: []byte("{}")}
	data, err := (&sealer{self: identity{node: "n1"}}).seal(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := &nats.Msg{Subject: "pd1.c.acme.17.room=3A1", Data: data, Header: nats.Header{
		"Nats-Stream": {"PD1H"}, "Nats-Subject": {"pdh1.acme.17.room=3A1"}, "Nats-Sequence": {"7"}, "Nats-Last-Sequence": {"3"},
	}}
	for epoch, want := range map[string]message.Position{"": {}, "e": {Epoch: "e", Offset: 7}} {
		got, err := (&opener{}).openMessage(msg, epoch, time.Now())
		if err != nil || got.Position != want || (got.Previous == 3) != (epoch != "") {
			t.Errorf("epoch %q: %+v, %v", epoch, got, err)
		}
	}
}

func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Now()
	if b.allow(now) != nil || !b.failed(message.ErrHistoryFull, now) || b.failed(message.ErrHistoryFull, now) {
		t.Error("the first failure is not told from the second")
	}
	for _, c := range []struct {
		at   time.Duration
		open bool
	}{{0, true}, {probeEvery - 1, true}, {probeEvery, false}, {probeEvery, true}, {2*probeEvery - 1, true}, {2 * probeEvery, false}} {
		if err := b.allow(now.Add(c.at)); (err != nil) != c.open {
			t.Errorf("after %s: %v", c.at, err)
		}
	}
	b.recovered(message.ErrUnavailable)
	if b.allow(now) == nil {
		t.Error("what is full recovered from being away")
	}
	b.recovered(message.ErrHistoryFull)
	if b.allow(now) != nil {
		t.Error("it did not recover")
	}
	b.failed(message.ErrUnavailable, now)
	b.works()
	if b.allow(now) != nil {
		t.Error("it works and is refused")
	}
}
