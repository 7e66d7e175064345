package cluster

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// behind answers for a stream of which one server is far behind the leader. The
// messages are those of one target.
type behind struct {
	nc      *nats.Conn
	subject string
	data    []byte
	// others has what the other server has, leader what the leader has.
	others, leader []uint64
	// catchesUp says that the other server is asked only once before it has what
	// the leader has.
	catchesUp bool
}

func (b *behind) answer(t *testing.T, subject string, f func(*nats.Msg, getRequest)) {
	t.Helper()
	if _, err := b.nc.Subscribe(subject, func(msg *nats.Msg) {
		var r getRequest
		if len(msg.Data) > 0 && json.Unmarshal(msg.Data, &r) != nil {
			t.Errorf("request %q", msg.Data)
		}
		f(msg, r)
	}); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
}

func (b *behind) reply(to *nats.Msg, data []byte, header ...string) {
	out := &nats.Msg{Subject: to.Reply, Data: data, Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		out.Header[header[i]] = []string{header[i+1]}
	}
	_ = b.nc.PublishMsg(out) // without it the test fails
}

// direct answers as the other server. All that was stored, for whomever, is young.
func (b *behind) direct(msg *nats.Msg, r getRequest) {
	var got []uint64
	for _, seq := range b.others {
		if seq >= r.Seq {
			got = append(got, seq)
		}
	}
	if r.StartTime != nil {
		got = []uint64{1}
	}
	if len(got) == 0 {
		b.reply(msg, nil, headerStatus, statusNotFound)
		return
	}
	sent := min(len(got), max(r.Batch, 1))
	for i, seq := range got[:sent] {
		b.reply(msg, b.data, jetstream.StreamHeader, streamHistory, jetstream.SubjectHeader, b.subject,
			jetstream.SequenceHeader, strconv.FormatUint(seq, 10), headerPending, strconv.Itoa(len(got)-i-1))
	}
	b.reply(msg, nil, headerStatus, statusEnd, headerPending, strconv.Itoa(len(got)-sent))
	if b.catchesUp {
		b.others = b.leader
	}
}

func (b *behind) lead(msg *nats.Msg, r getRequest) {
	for _, seq := range b.leader {
		if seq >= r.Seq {
			b.reply(msg, must(json.Marshal(map[string]any{"message": storedMessage{b.subject, seq, b.data}})))
			return
		}
	}
	b.reply(msg, fmt.Appendf(nil, `{"error":{"err_code":%d}}`, codeNoMessage))
}

func (b *behind) info(msg *nats.Msg, _ getRequest) {
	last := b.leader[len(b.leader)-1]
	b.reply(msg, fmt.Appendf(nil, `{"config":{"name":%q},"state":{"last_seq":%d}}`, streamHistory, last))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLeaderHasLetGo: what the leader has need not follow what a server had that
// is behind.
func TestLeaderHasLetGo(t *testing.T) {
	const keeps = 4
	for name, c := range map[string]struct {
		others, leader []uint64
		limit          int
		want           string
		catchesUp      bool
	}{
		"all is there":              {[]uint64{40}, []uint64{40, 50, 60}, 10, "[50 60]", false},
		"the anchor is gone":        {[]uint64{40}, []uint64{57, 58, 59, 60}, 10, "[57 58 59 60] trimmed", false},
		"what came last is gone":    {[]uint64{40, 41}, []uint64{57, 58, 59, 60}, 3, "[41] more", false},
		"what came last is there":   {[]uint64{40, 41}, []uint64{41, 58, 59, 60}, 3, "[41 58 59] more", false},
		"no anchor, cut":            {nil, []uint64{57, 58, 59, 60}, 2, "[57 58] trimmed more", false},
		"no anchor, few, all young": {nil, []uint64{57, 58, 60}, 10, "[57 58 60]", false},
		"others let go, too":        {[]uint64{40}, []uint64{57, 58, 59, 60}, 10, "[57 58 59 60] trimmed", true},
		"others let go, in a page":  {[]uint64{40, 41}, []uint64{57, 58, 59, 60}, 10, "[41] more", true},
		"others have it later":      {[]uint64{40}, []uint64{40, 58, 59, 60}, 10, "[58 59 60]", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, target, b := startBehind(t, history.Limit{Messages: keeps, Age: time.Hour})
			b.others, b.leader, b.catchesUp = c.others, c.leader, c.catchesUp
			after := uint64(40)
			if c.others == nil {
				after = 1 // right before all that is young
			}
			page, err := s.read(t.Context(), target, history.Query{After: after, Known: 60, Limit: c.limit, Bytes: 1000})
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			var got []uint64
			for _, m := range page.Messages {
				got = append(got, m.Position.Offset)
			}
			text := fmt.Sprint(got)
			if page.Gap != "" {
				text += " " + string(page.Gap)
			}
			if page.More {
				text += " more"
			}
			if text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

// startBehind returns a store that asks b, and the target of b's messages.
func startBehind(t *testing.T, kept history.Limit) (*store, address.Target, *behind) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatalf("nats server: %v", err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats server is not ready")
	}
	tenant := must(address.ParseTenantID("acme"))
	target := must(address.UserTarget(tenant, must(address.ParseUserID("ann"))))
	m := &message.Message{ID: message.NewID(), Target: target, AcceptedAt: time.Now(), Payload: []byte("x")}
	b := &behind{
		nc: must(nats.Connect(srv.ClientURL())), subject: storeSubject(target),
		data: must((&sealer{self: identity{node: "n1"}}).seal(m, nil)),
	}
	t.Cleanup(b.nc.Close)
	b.answer(t, subjectDirectGet, b.direct)
	b.answer(t, prefixLeaderGet+streamHistory, b.lead)
	b.answer(t, "$JS.API.STREAM.INFO."+streamHistory, b.info)
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.NodeName, o.NATSURL = "n1", srv.ClientURL()
	s := &store{
		opts: &HistoryOptions{Rules: history.Rules{Inbox: kept}}, timeout: time.Minute,
		present: func() bool { return true }, metrics: newMetrics(nil),
	}
	s.epoch.Store(&epoch{id: "e"})
	s.replicas.Store(3)
	s.asker = must(dialAsker(o, nil, func() {}, slog.New(slog.DiscardHandler)))
	s.asker.wg.Go(func() { s.asker.run(func(*nats.Msg) {}) })
	t.Cleanup(s.asker.close)
	s.js = must(jetstream.New(s.asker.nc))
	return s, target, b
}
