package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

func mustTarget(t testing.TB, kind address.Kind, tenant, id string) address.Target {
	t.Helper()
	var e clusterv1.Envelope
	e.Kind, e.TenantId = wireKind(kind), tenant
	switch kind {
	case address.KindUser:
		e.UserId = id
	case address.KindChannel:
		e.Channel = id
	}
	target, err := wireTarget(&e)
	if err != nil {
		t.Fatalf("target %v %q %q: %v", kind, tenant, id, err)
	}
	return target
}

// TestSubjectsAreGolden holds what must never change: streams and other
// versions rely on it.
func TestSubjectsAreGolden(t *testing.T) {
	for _, c := range []struct {
		kind       address.Kind
		tenant, id string
		publish    string
	}{
		{address.KindAll, "", "", "pd1.a"},
		{address.KindTenant, "acme", "", "pd1.t.acme"},
		{address.KindTenant, "a.b*>", "", "pd1.t.a=2Eb=2A=3E"},
		{address.KindUser, "acme", "ann", "pd1.e.acme.01.+u.ann"},
		{address.KindUser, "1", "a:b", "pd1.e.1.14.+u.a=3Ab"},
		{address.KindChannel, "acme", "room:1", "pd1.e.acme.17.room=3A1"},
		{address.KindChannel, "10", "c", "pd1.e.10.03.c"},
		{address.KindChannel, "", "public:news", "pd1.e.+public.37.public=3Anews"},
		{address.KindChannel, "tü", "+u.ann", "pd1.e.t=C3=BC.43.=2Bu=2Eann"},
	} {
		target := mustTarget(t, c.kind, c.tenant, c.id)
		want := c.publish
		if got := publishSubject(target); got != want {
			t.Errorf("publish subject %q, want %q", got, want)
		}
		if got := interestSubject(target); got != strings.Replace(want, "pd1.e.", "pd1.*.", 1) {
			t.Errorf("interest subject %q", got)
		}
		if got := subjectKind(want); got != c.kind {
			t.Errorf("kind of %q is %v", want, got)
		}
		if !carries(want, target) {
			t.Errorf("%q does not carry its target", want)
		}
		if got := keyedSubject(target); got != strings.Replace(want, "pd1.", "pdk1.", 1) {
			t.Errorf("keyed subject %q", got)
		}
		stored := ""
		if c.kind == address.KindUser || c.kind == address.KindChannel {
			stored = strings.Replace(want, "pd1.e.", "pdh1.", 1)
			live := strings.Replace(want, "pd1.e.", "pd1.c.", 1)
			if stream, source := sourceOf(live); stream != "PD1H" || source != stored {
				t.Errorf("%q is a copy of %q in %s", live, source, stream)
			}
			if got, ok := parseCopySubject(live); !ok || got != target || subjectKind(live) != c.kind || !carries(live, target) {
				t.Errorf("%q is for %v", live, got)
			}
		}
		if got := storeSubject(target); got != stored {
			t.Errorf("store subject %q, want %q", got, stored)
		}
		if stream, source := sourceOf(want); stream != "PD1K" || source != keyedSubject(target) {
			t.Errorf("%q is a copy of %q in %s", want, source, stream)
		}
	}
	for _, bad := range []string{
		"", "pd1.c.", "pd1.c.acme", "pd1.c.acme.17", "pd1.c.acme.17.", "pd1.c.acme.18.room=3A1", "pd1.e.acme.17.room=3A1",
		"pd1.c.acme.01.+u.", "pd1.c.acme.01.+u.+u.ann", "pd1.c.+public.00.room", "pd1.c.+x.17.room", "pd1.c.acme.17.room=3A1.x", "pd1.c.*.>",
	} {
		if got, ok := parseCopySubject(bad); ok {
			t.Errorf("%q is for %v", bad, got)
		}
	}
	if publishSubject(address.Target{}) != "" || interestSubject(address.Target{}) != "" {
		t.Error("the zero target has a subject")
	}
	if storeSubject(address.Target{}) != "" || keyedSubject(address.Target{}) != "" {
		t.Error("the zero target is stored")
	}
	for want, target := range map[string]address.Target{
		"acme.2c70e12b7a0646f92279f427c7b38e73":    mustTarget(t, address.KindTenant, "acme", ""),
		"a=2Eb.2c70e12b7a0646f92279f427c7b38e73":   mustTarget(t, address.KindUser, "a.b", "ann"),
		"+public.2c70e12b7a0646f92279f427c7b38e73": mustTarget(t, address.KindChannel, "", "public:x"),
		"+all.2c70e12b7a0646f92279f427c7b38e73":    address.AllTarget(),
	} {
		if got := messageKeyID(target, "key"); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}

func TestReplySubjects(t *testing.T) {
	if node, id, ok := parseReplySubject(replySubject("n-1", 42)); !ok || node != "n-1" || id != 42 {
		t.Errorf("got %q %d %v", node, id, ok)
	}
	for _, bad := range []string{"", "pd1.r.", "pd1.r.n", "pd1.r.n.", "pd1.r.n.x", "pd1.r.n.01", "pd1.r.n.+1", "pd1.r.n.1.2", "pd1.r.*.1", "pd1.a"} {
		if _, _, ok := parseReplySubject(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestNodeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"n1": true, "A_b-9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a.b": false, "a b": false, "*": false, "=2E": false, "ü": false,
	} {
		if validNodeName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	m := &message.Message{
		ID: message.NewID(), Target: mustTarget(f, address.KindUser, "acme", "ann"), NotificationType: "order",
		AcceptedAt: time.Now(), Deadline: time.Now().Add(time.Hour), Payload: []byte("{}"),
	}
	data, err := (&sealer{self: identity{node: "n1", incarnation: 1}}).seal(m, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(publishSubject(m.Target), data)
	f.Add("pd1.a", []byte{8, 1})
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		m, err := openEnvelope(subject, data, time.UnixMilli(0))
		if err != nil {
			return
		}
		// What is let in is for the very subject, and survives a second trip.
		if live := publishSubject(m.Target); live != subject && strings.Replace(live, "pd1.e.", "pd1.c.", 1) != subject {
			t.Fatalf("%q carried a message for %q", subject, publishSubject(m.Target))
		}
		again, err := (&sealer{self: identity{node: "n1"}}).seal(m, nil)
		if err != nil {
			t.Fatalf("seal: %v", err)
		}
		if m.Deadline.IsZero() {
			return
		}
		back, err := openEnvelope(subject, again, time.UnixMilli(0))
		if err != nil || back.Target != m.Target || back.ID != m.ID || !bytes.Equal(back.Payload, m.Payload) {
			t.Fatalf("second trip: %+v, %v", back, err)
		}
	})
}

func FuzzSubject(f *testing.F) {
	f.Add("acme", "room:1", "10", "c")
	f.Add("1", "+u.a", "1", "a")
	f.Fuzz(func(t *testing.T, tenantA, idA, tenantB, idB string) {
		targets := append(fuzzTargets(tenantA, idA), fuzzTargets(tenantB, idB)...)
		for _, a := range targets {
			subject := publishSubject(a)
			if !carries(subject, a) || subjectKind(subject) != a.Kind() {
				t.Errorf("%q does not carry its target", subject)
			}
			if strings.ContainsAny(subject, "*> \t\r\n\x00") || strings.Contains(subject, "..") || strings.HasSuffix(subject, ".") {
				t.Errorf("subject %q", subject)
			}
			for _, b := range targets {
				if (publishSubject(b) == subject) != (a == b) || carries(subject, b) != (a == b) {
					t.Errorf("%v and %v share %q", a, b, subject)
				}
			}
		}
		if got, ok := parseCopySubject(prefixCopy + tenantA + idA); ok && prefixCopy+targetTokens(got) != prefixCopy+tenantA+idA {
			t.Errorf("copy subject %q is for %v", tenantA+idA, got)
		}
		if node, id, ok := parseReplySubject(tenantA + idA); ok && replySubject(node, id) != tenantA+idA {
			t.Errorf("reply subject %q", tenantA+idA)
		}
	})
}

func fuzzTargets(tenant, id string) []address.Target {
	var out []address.Target
	for _, e := range []*clusterv1.Envelope{
		{Kind: clusterv1.Kind_KIND_TENANT, TenantId: tenant},
		{Kind: clusterv1.Kind_KIND_USER, TenantId: tenant, UserId: id},
		{Kind: clusterv1.Kind_KIND_CHANNEL, TenantId: tenant, Channel: id},
		{Kind: clusterv1.Kind_KIND_CHANNEL, Channel: "public:" + id},
	} {
		if target, err := wireTarget(e); err == nil {
			out = append(out, target)
		}
	}
	return out
}

func TestRosterAges(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	r := newRoster(identity{node: "me", incarnation: 1}, DefaultOptions(), newMetrics(nil), slog.New(slog.DiscardHandler))
	r.now = func() time.Time { return now }
	beat := func(node string, incarnation uint64, started int64, s clusterv1.State) {
		if !r.hear(&clusterv1.Heartbeat{Node: node, Incarnation: incarnation, StartedAt: started, State: s}) {
			t.Errorf("heartbeat of %s was refused", node)
		}
	}
	state := func() stats.State {
		v := r.view()
		if len(v) != 1 {
			return 0
		}
		return v[0].State
	}
	ready, draining, bye := clusterv1.State_STATE_READY, clusterv1.State_STATE_DRAINING, clusterv1.State_STATE_BYE
	beat("me", 1, 0, ready)
	if state() != 0 {
		t.Error("a node is in its own roster")
	}
	beat("b", 7, 100, ready)
	for _, step := range []struct {
		wait time.Duration
		want stats.State
	}{
		{3 * time.Second, stats.StateReady},
		{time.Second, stats.StateSuspect},
		{time.Second, stats.StateSuspect},
		{time.Second, stats.StateDead},
		{forgetAfter - 6*time.Second, stats.StateDead},
		{time.Second, 0},
	} {
		now = now.Add(step.wait)
		if got := state(); got != step.want {
			t.Errorf("at %s: state %d, want %d", now, got, step.want)
		}
	}
	beat("b", 7, 100, draining)
	if state() != stats.StateDraining {
		t.Error("not draining")
	}
	beat("b", 8, 200, ready) // started again
	beat("b", 7, 100, bye)   // the old run's last word comes late
	if state() != stats.StateReady || r.namesake() {
		t.Error("a restart is a duplicate")
	}
	beat("b", 7, 100, ready) // the old one still runs
	if len(r.twins) != 1 || r.namesake() {
		t.Error("two nodes of one name were not noticed")
	}
	beat("b", 8, 200, bye)
	if state() != 0 {
		t.Error("bye was not heard")
	}
	beat("me", 2, 0, bye)
	if r.namesake() {
		t.Error("the last word of the run before is a duplicate")
	}
	beat("me", 2, 0, ready)
	if !r.namesake() {
		t.Error("a namesake was not noticed")
	}
	if r.hear(&clusterv1.Heartbeat{Node: "a.b"}) || r.hear(&clusterv1.Heartbeat{Node: "a", Version: strings.Repeat("x", 300)}) {
		t.Error("a bad heartbeat was taken")
	}
}

func TestReconnectDelay(t *testing.T) {
	total := time.Duration(0)
	for n := 1; n < 40; n++ {
		d := reconnectDelay(n)
		if d < reconnectFirst*7/8 || d > reconnectMost*9/8 {
			t.Errorf("attempt %d: %s", n, d)
		}
		// So that after a short outage the next try is near.
		if total > time.Second && d > total {
			t.Errorf("attempt %d: %s after %s", n, d, total)
		}
		total += d
	}
}

// TestAnswerFitsInOneMessage cuts lists, never the totals.
func TestAnswerFitsInOneMessage(t *testing.T) {
	local := stats.Local{}
	for n := range 4000 {
		local.Channels = append(local.Channels, stats.Channel{
			Tenant: mustTarget(t, address.KindTenant, strings.Repeat("t", 100), "").Tenant(),
			Name:   mustTarget(t, address.KindChannel, "x", strings.Repeat("c", 190)).Channel(), Connections: uint64(n),
		})
	}
	local.TotalChannels = 4000
	k := &talk{sink: fixedSink{local}, most: 64 << 10}
	data, err := k.answer(stats.Query{})
	if err != nil || len(data) > k.most {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	var w clusterv1.StatsReport
	if err := proto.Unmarshal(data, &w); err != nil || w.GetTotalChannels() != 4000 || len(w.GetChannels()) < 100 {
		t.Errorf("%d of %d channels, %v", len(w.GetChannels()), w.GetTotalChannels(), err)
	}
}

type fixedSink struct{ local stats.Local }

func (fixedSink) Deliver(*message.Message)        {}
func (s fixedSink) Totals() stats.Totals          { return s.local.Totals }
func (s fixedSink) Doubt(address.Target)          {}
func (s fixedSink) Local(stats.Query) stats.Local { return s.local }

func TestOptionsValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Options)
		want string // part of the error; empty: valid
	}{
		{"lone", func(*Options) {}, ""},
		{"no name", func(o *Options) { o.NodeName = "" }, "node name"},
		{"bad name", func(o *Options) { o.NodeName = "a.b" }, "node name"},
		{"external", func(o *Options) { o.NATSURL = "nats://127.0.0.1:4222,nats://localhost:4223" }, ""},
		{"external, no credentials", func(o *Options) { o.NATSURL = "nats://127.0.0.1,nats://nats.example:4222" }, "needs credentials"},
		{"external, credentials", func(o *Options) { o.NATSURL = "tls://u:sesame@nats.example:4222" }, ""},
		{"external, bad scheme", func(o *Options) { o.NATSURL = "http://u:sesame@nats.example" }, "must be nats://"},
		{"external, bad port", func(o *Options) { o.NATSURL = "nats://u:sesame@nats.example:port" }, "must be nats://"},
		{"external and mesh", func(o *Options) { o.NATSURL, o.ListenAddr = "nats://127.0.0.1", "127.0.0.1:1" }, "excludes"},
		{"peers alone", func(o *Options) { o.Peers = []string{"nats://127.0.0.1:1"} }, "need a cluster address"},
		{"mesh on loopback", func(o *Options) {
			o.ListenAddr, o.Peers = "127.0.0.1:0", []string{"nats://localhost:1", "nats://[::1]:2"}
		}, ""},
		{"mesh open", func(o *Options) { o.ListenAddr = "0.0.0.0:6222" }, "needs a secret"},
		{"mesh everywhere", func(o *Options) { o.ListenAddr = ":6222" }, "needs a secret"},
		{"mesh with a far peer", func(o *Options) {
			o.ListenAddr, o.Peers = "127.0.0.1:6222", []string{"nats://10.0.0.1:6222"}
		}, "needs a secret"},
		{"mesh with secret", func(o *Options) { o.ListenAddr, o.Secret = "0.0.0.0:6222", "s" }, ""},
		{"peer with credentials", func(o *Options) {
			o.ListenAddr, o.Peers = "127.0.0.1:1", []string{"nats://u:sesame@127.0.0.1:2"}
		}, "must not carry"},
		{"peer unreadable", func(o *Options) { o.ListenAddr, o.Peers = "127.0.0.1:1", []string{"127.0.0.1:2"} }, "peer"},
		{"listen unreadable", func(o *Options) { o.ListenAddr = "127.0.0.1" }, "cluster address"},
		{"payload", func(o *Options) { o.MaxPayload = 0 }, "max payload"},
		{"lanes", func(o *Options) { o.Lanes = 0 }, "lanes"},
		{"linger", func(o *Options) { o.InterestLinger = -1 }, "linger"},
		{"timeout", func(o *Options) { o.PublishTimeout = 0 }, "timeout"},
		{"confirm timeout", func(o *Options) { o.ConfirmTimeout = 0 }, "confirm timeout"},
		{"history", func(o *Options) { o.History = &HistoryOptions{StoreDir: "dir", MaxBytes: 1 << 20, Replicas: 3} }, ""},
		{"history without room", func(o *Options) { o.History = &HistoryOptions{StoreDir: "dir", MaxBytes: 1<<20 - 1} }, "1 MiB"},
		{"history of less than nothing", func(o *Options) { o.History = &HistoryOptions{StoreDir: "dir", MaxBytes: -1} }, "1 MiB"},
		{"history on too many servers", func(o *Options) { o.History = &HistoryOptions{Replicas: 6} }, "replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.NodeName = "n1"
			c.edit(&o)
			err := o.Validate()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "sesame"):
				t.Errorf("credentials in %v", err)
			}
		})
	}
}

func TestRosterIsBounded(t *testing.T) {
	r := newRoster(identity{node: "me", incarnation: 1}, DefaultOptions(), newMetrics(nil), slog.New(slog.DiscardHandler))
	now := time.Now()
	r.now = func() time.Time { return now }
	beat := func(n int) bool {
		return r.hear(&clusterv1.Heartbeat{Node: fmt.Sprintf("n%d", n), Incarnation: 7, State: clusterv1.State_STATE_READY})
	}
	for n := range maxPeers {
		if !beat(n) {
			t.Fatalf("node %d is refused", n)
		}
	}
	if beat(maxPeers) || len(r.peers) != maxPeers {
		t.Errorf("one more was taken: %d", len(r.peers))
	}
	if !beat(0) {
		t.Error("a known node is refused")
	}
	now = now.Add((deadAfter + 1) * r.interval)
	if !beat(maxPeers) || len(r.peers) != 1 {
		t.Errorf("the dead keep %d places", len(r.peers))
	}
}
