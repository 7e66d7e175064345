package cluster_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// tap is a plain NATS client beside the nodes.
func tap(t *testing.T, url string) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

var subjectAlphabet = regexp.MustCompile(`^pd1(\.[A-Za-z0-9_=+-]+)+$`)

func TestTenantsNeverCross(t *testing.T) {
	srv := startNATS(t, -1)
	nc := tap(t, srv.ClientURL())
	var mu sync.Mutex
	subjects := make(map[string]struct{})
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		subjects[m.Subject] = struct{}{}
	}); err != nil {
		t.Fatalf("tap: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	nodes := startExternal(t, srv, 2)
	a, b := nodes[0], nodes[1]

	tenants := []string{"1", "10", "1.", "1>", "1*", "=31", "+public", "+u", "1-_", "ü", "🦊", "1.10", "t>.*", "pd1", "a"}
	names := []string{"c", "c.d", "c*x", ">", "+u.ann", "room:1", "rööm", "=2E", "a>b:*c"}
	all := make(map[string]address.Target)
	for _, tn := range tenants {
		all["tenant "+tn] = tenantOf(t, tn)
		for _, name := range names {
			all["channel "+tn+" "+name] = channelOf(t, tn, name)
			all["user "+tn+" "+name] = userOf(t, tn, name)
		}
	}
	for _, target := range all {
		a.acquire(t, target)
	}
	for label, target := range all {
		if err := b.Enqueue(msg(target, label)); err != nil {
			t.Fatalf("enqueue: %v", err)
		}
	}
	a.sink.await(t, "all", func(got []*message.Message) bool { return len(got) >= len(all) })
	seen := make(map[string]int)
	for _, m := range a.sink.got {
		label := string(m.Payload)
		seen[label]++
		if m.Target != all[label] {
			t.Errorf("%q came for %v", label, m.Target)
		}
	}
	for label := range all {
		if seen[label] != 1 {
			t.Errorf("%q came %d times", label, seen[label])
		}
	}
	// A holder of one tenant gets nothing of another whose name begins alike.
	for _, n := range []string{"10", "1."} {
		b.acquire(t, tenantOf(t, n))
	}
	a.publish(t, tenantOf(t, "1"), "for 1")
	a.publish(t, channelOf(t, "1", "c"), "for 1")
	a.publish(t, tenantOf(t, "10"), "for 10")
	b.sink.awaitPayload(t, "for 10")
	b.sink.noneOf(t, "for 1x", "tenant", "channel", "user")
	if got := b.sink.payloads(); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for s := range subjects {
		if !subjectAlphabet.MatchString(s) && !strings.HasPrefix(s, "_INBOX.") {
			t.Errorf("subject %q is outside the encoding", s)
		}
	}
	if len(subjects) < len(all) {
		t.Errorf("the tap saw %d subjects for %d targets", len(subjects), len(all))
	}
}

func TestForgedEnvelopesAreDropped(t *testing.T) {
	srv := startNATS(t, -1)
	nc := tap(t, srv.ClientURL())
	n := startNode(t, "n1", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	mine := channelOf(t, "1", "c")
	for _, target := range []address.Target{mine, tenantOf(t, "1"), userOf(t, "1", "ann"), address.AllTarget()} {
		n.acquire(t, target)
	}
	captured := make(chan *nats.Msg, 64)
	if _, err := nc.ChanSubscribe("pd1.e.1.>", captured); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	n.publish(t, mine, "real")
	n.sink.awaitPayload(t, "real")
	genuine := <-captured
	envelope := func(edit func(*clusterv1.Envelope)) []byte {
		var e clusterv1.Envelope
		if err := proto.Unmarshal(genuine.Data, &e); err != nil {
			t.Fatalf("unmarshal: %v", err)
		}
		e.Payload = []byte("forged")
		edit(&e)
		data, err := proto.Marshal(&e)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		return data
	}
	other := strings.Replace(genuine.Subject, "pd1.e.1.", "pd1.x.1.", 1)
	for _, forged := range []struct {
		name, subject, reason string
		data                  []byte
	}{
		{"other tenant", genuine.Subject, "foreign", envelope(func(e *clusterv1.Envelope) { e.TenantId = "10" })},
		{"other channel", genuine.Subject, "foreign", envelope(func(e *clusterv1.Envelope) { e.Channel = "d" })},
		{"kind all", genuine.Subject, "foreign", envelope(func(e *clusterv1.Envelope) {
			e.Kind, e.TenantId, e.Channel = clusterv1.Kind_KIND_ALL, "", ""
		})},
		{"channel as tenant", "pd1.t.1", "foreign", envelope(func(*clusterv1.Envelope) {})},
		{"channel as all", "pd1.a", "foreign", envelope(func(*clusterv1.Envelope) {})},
		{"no kind", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.Kind = 0 })},
		{"kind of the future", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.Kind = 99 })},
		{"user and channel", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.UserId = "ann" })},
		{"bad tenant", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.TenantId = "1:2" })},
		{"foreign tenant channel", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.Channel = "tenant:2" })},
		{"public with tenant", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.Channel = "public:x" })},
		{"short id", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.Id = e.GetId()[:5] })},
		{"short exclusion", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.ExcludeConnection = []byte{1} })},
		{"type of a channel", genuine.Subject, "malformed", envelope(func(e *clusterv1.Envelope) { e.NotificationType = "x" })},
		{"version", genuine.Subject, "version", envelope(func(e *clusterv1.Envelope) { e.Version = 2 })},
		{"late", genuine.Subject, "expired", envelope(func(e *clusterv1.Envelope) { e.Deadline = 1 })},
		{"garbage", genuine.Subject, "malformed", []byte{0xff, 0xff}},
		{"nothing", genuine.Subject, "version", nil},
	} {
		t.Run(forged.name, func(t *testing.T) {
			before := n.dropped(t, forged.reason)
			if err := nc.Publish(forged.subject, forged.data); err != nil {
				t.Fatalf("publish: %v", err)
			}
			eventually(t, "drop", func() bool { return n.dropped(t, forged.reason) == before+1 })
		})
	}
	// The kind of subject is checked as well: interest covers them all.
	if err := nc.Publish(other, genuine.Data); err != nil {
		t.Fatalf("publish: %v", err)
	}
	n.publish(t, mine, "still real")
	n.sink.awaitPayload(t, "still real")
	if got := n.sink.payloads(); fmt.Sprint(got) != "[real still real]" {
		t.Errorf("delivered %q", got)
	}
}

func TestForgedTalkIsDropped(t *testing.T) {
	srv := startNATS(t, -1)
	nc := tap(t, srv.ClientURL())
	n := startNode(t, "n1", func(o *cluster.Options) { o.NATSURL = srv.ClientURL() })
	beat := func(node string) []byte {
		data, err := proto.Marshal(&clusterv1.Heartbeat{Node: node, Incarnation: 7, StartedAt: time.Now().UnixMilli()})
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		return data
	}
	query := func(replyTo string) []byte {
		data, err := proto.Marshal(&clusterv1.StatsQuery{ReplyTo: replyTo, TenantId: "1"})
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		return data
	}
	want := 0.0
	for _, m := range []struct {
		subject string
		data    []byte
	}{
		{"pd1.hb.x", beat("y")},
		{"pd1.hb.x", []byte{0xff}},
		{"pd1.hb.=2E", beat("=2E")},
		{"pd1.q.stats", []byte{0xff}},
		{"pd1.q.stats", query("pd1.a")},
		{"pd1.q.stats", query("pd1.r.x.>")},
		{"pd1.q.stats", query("pd1.r.x.01")},
		{"pd1.r.n1.x", nil},
	} {
		if err := nc.Publish(m.subject, m.data); err != nil {
			t.Fatalf("publish: %v", err)
		}
		want++
		eventually(t, "drop of "+m.subject, func() bool { return n.dropped(t, "malformed") == want })
	}
	c, err := n.Stats(t.Context(), stats.Query{}, true)
	if err != nil || len(c.Nodes) != 1 || !c.Complete {
		t.Errorf("stats %+v, %v", c, err)
	}
	// A real heartbeat from a second node of this name is told and counted.
	if err := nc.Publish("pd1.hb.n1", beat("n1")); err != nil {
		t.Fatalf("publish: %v", err)
	}
	eventually(t, "duplicate", func() bool { return n.count(t, "pushd_cluster_duplicate_nodes_total", "") == 1 })
}
