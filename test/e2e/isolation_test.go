package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// awkwardTenants are different tenants that something careless takes for one
// another, or for several, or for none.
var awkwardTenants = []string{
	"1", "10", "1.0", "1.", ".1", ".", "..", "1-admin", "1/admin", "1%3Aadmin", "1=3Aadmin", "=31", "%31",
	"1*", "*1", "1.*", ">", "1.>", "*.*", "+public", "+u", "public", "tenant", "notifications", "$SYS", "_INBOX",
	"pd1", "A", "a", "ümlaut", "u\u0308mlaut", "租户", "１", "1\u200b", "\u202e1", "😀", "null", "0", `"`, `\`, "'--", "<b>",
}

// member is a connection of user "u" of one tenant.
type member struct {
	tenant, node string
	socket       *harness.Socket
}

// TestTenantsNeverMeet gives every awkward tenant a user on each of two nodes,
// with a token that claims everything, and lets all of them and all services
// send. What is marked with one tenant must reach that tenant, and no other.
func TestTenantsNeverMeet(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	w := s.watch(t)
	var nodes []*harness.Node
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, startNode(ctx, t, name, "--nats-url", s.URL(), "--inbound-rate", "1e6", "--inbound-burst", "1000000"))
	}
	awaitStats(ctx, t, control(t, nodes[0]), wantNodes("a", "b"))

	var all []member
	for _, n := range nodes {
		for _, tenant := range awkwardTenants {
			all = append(all, member{tenant, n.Name, connectAs(ctx, t, n, greedyClaims(tenant))})
		}
	}
	for _, m := range all {
		join(ctx, t, m.socket, "tenant:"+m.tenant, "tenant:"+m.tenant+":general", "orders", "public:news")
		trespass(ctx, t, m)
	}
	for _, n := range nodes {
		checkTenantTraffic(ctx, t, control(t, n), all)
	}
	checkTenantsCounted(ctx, t, control(t, nodes[0]))
	checkWire(t, w)
}

// greedyClaims make a token whose channels claim asks for what belongs to
// others.
func greedyClaims(tenant string) claims {
	grants := []string{"**", "*:**", "tenant:**", "tenant:*:**", "notifications:**", "public:**", "orders"}
	for _, other := range []string{"1", "10", "A", "租户"} {
		grants = append(grants, "tenant:"+other, "tenant:"+other+":**", "notifications:"+other+":u:**")
	}
	return claims{"tenantId": tenant, "userId": "u", "channels": grants}
}

// trespass tries every channel of every other tenant, and some of the own that
// a plain member has no right to. The only answers must be refusals.
func trespass(ctx context.Context, t *testing.T, m member) {
	t.Helper()
	var tried []string
	try := func(kind, channel string) {
		data := map[string]any{"channel": channel, "message": map[string]string{"mark": "trespass"}}
		if err := m.socket.Send(kind, data); err != nil {
			t.Fatal(err)
		}
		tried = append(tried, kind+" "+channel)
	}
	for _, other := range awkwardTenants {
		if other == m.tenant {
			continue
		}
		for _, channel := range []string{"tenant:" + other, "tenant:" + other + ":general", "notifications:" + other + ":u:all"} {
			try("join_channel", channel)
			try("send_message", channel)
		}
	}
	try("send_message", "public:news")
	try("send_message", "notifications:"+m.tenant+":u:all")
	for _, channel := range []string{"tenant:" + m.tenant + ":admin", "tenant:" + m.tenant + ":admin:audit"} {
		try("join_channel", channel)
		try("send_message", channel)
	}
	try("join_channel", "notifications:"+m.tenant+":other:all")
	for _, what := range tried {
		answer, err := m.socket.Expect(ctx, "error")
		if err != nil {
			t.Fatalf("tenant %q, %s: %v", m.tenant, what, err)
		}
		if answer.Field("code") != "permission_denied" {
			t.Errorf("tenant %q, %s: %s", m.tenant, what, answer.Text)
		}
	}
}

// checkTenantTraffic sends to every tenant by every way there is. Everything is
// marked with the tenant that it is for.
func checkTenantTraffic(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient, all []member) {
	t.Helper()
	for _, tenant := range awkwardTenants {
		for _, call := range []func() error{
			func() error {
				_, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
					TenantId: tenant, UserId: "u", Payload: &pushdv1.NotifyUserRequest_Json{Json: quoted(tenant, "user")},
				})
				return err
			},
			func() error {
				_, err := c.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
					TenantId: tenant, EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: quoted(tenant, "tenant")},
				})
				return err
			},
			func() error {
				_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
					Channel: "tenant:" + tenant + ":general", EventType: "news",
					Payload: &pushdv1.SendChannelRequest_Json{Json: quoted(tenant, "general")},
				})
				return err
			},
			func() error {
				_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
					TenantId: tenant, Channel: "orders", EventType: "news",
					Payload: &pushdv1.SendChannelRequest_Json{Json: quoted(tenant, "orders")},
				})
				return err
			},
		} {
			if err := call(); err != nil {
				t.Fatalf("tenant %q: %v", tenant, err)
			}
		}
	}
	for _, m := range all {
		for _, channel := range []string{"orders", "tenant:" + m.tenant + ":general", "tenant:" + m.tenant} {
			mark := m.tenant + "|" + channel + " by client on " + m.node
			if err := m.socket.Say(channel, map[string]string{"mark": mark}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
		Channel: "public:news", EventType: "news", Payload: &pushdv1.SendChannelRequest_Json{Json: payload("public")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if err := awaitMarks(ctx, m.socket, wantedBy(m)...); err != nil {
			t.Fatalf("tenant %q on %s: %v", m.tenant, m.node, err)
		}
	}
	for _, m := range all {
		checkQuiet(ctx, t, m.socket)
	}
}

// wantedBy lists the marks of one round that a member must get.
func wantedBy(m member) []string {
	marks := []string{"public"}
	for _, way := range []string{"user", "tenant", "general", "orders"} {
		marks = append(marks, m.tenant+"|"+way)
	}
	other := map[string]string{"a": "b", "b": "a"}[m.node]
	for _, channel := range []string{"orders", "tenant:" + m.tenant + ":general", "tenant:" + m.tenant} {
		marks = append(marks, m.tenant+"|"+channel+" by client on "+other)
	}
	return marks
}

func quoted(tenant, way string) string {
	text, err := json.Marshal(map[string]string{"mark": tenant + "|" + way})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// checkTenantsCounted asks for each tenant by name.
func checkTenantsCounted(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient) {
	t.Helper()
	for _, tenant := range awkwardTenants {
		answer, err := c.Stats(ctx, &pushdv1.StatsRequest{TenantId: tenant, Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		rows := answer.GetTenants()
		if len(rows) != 1 || rows[0].GetTenantId() != tenant || rows[0].GetConnections() != 2 {
			t.Errorf("tenant %q: %v", tenant, rows)
		}
	}
}

// The subjects of pushd, as the cluster package documents them: a name in one
// is made of [A-Za-z0-9_-] and =HH, and +public and +u. are what no name can be.
const (
	nameToken     = `(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+`
	tenantToken   = `(?:\+public|` + nameToken + `)`
	targetToken   = tenantToken + `\.[0-9]{2}\.(?:\+u\.)?` + nameToken
	plainToken    = `[A-Za-z0-9_-]{1,64}`
	messagesRegex = `^pd1\.(?:[ec]\.` + targetToken + `|t\.` + nameToken + `|a|hb\.` + plainToken +
		`|q\.(?:hello|stats|confirm|interest)|ep\.history|r\.` + plainToken + `\.[0-9]+)$|` +
		`^pdh1\.` + targetToken + `$|^pdk1\.(?:e\.` + targetToken + `|t\.` + nameToken + `|a)$|^pde1\.history$|` + streamsRegex
	interestRegex = `^pd1\.(?:\*\.` + targetToken + `|t\.` + nameToken + `|a|hb\.\*|q\.\*|ep\.history|r\.` + plainToken + `\.\*)$|` +
		`^\$JS\.EVENT\.ADVISORY\.STREAM\.\*\.PD1H$|` + answersRegex
	// The API of JetStream and what it tells of the streams of pushd.
	streamsRegex = `^\$JS\.API\.(?:INFO|STREAM\.(?:INFO|CREATE|UPDATE|MSG\.GET)\.PD1[HKE]|DIRECT\.GET\.PD1[HKE](?:\..*)?)$|` +
		`^\$JS\.EVENT\.ADVISORY\.(?:API|STREAM\.[A-Z_]+\.PD1[HKE])$|` + answersRegex
	answersRegex = `^_INBOX\.[0-9A-Za-z]{22}\.(?:\*|[0-9A-Za-z]+)$`
)

// checkWire looks at everything that a stranger with access to NATS has seen.
func checkWire(t *testing.T, w *wire) {
	t.Helper()
	messages, interest := regexp.MustCompile(messagesRegex), regexp.MustCompile(interestRegex)
	seen := w.seen()
	for _, subject := range seen {
		if !messages.MatchString(subject) {
			t.Errorf("a message went to %q", subject)
		}
	}
	// Four subjects a tenant, and no two tenants share one.
	if len(seen) < 4*len(awkwardTenants) {
		t.Errorf("only %d subjects were seen", len(seen))
	}
	subscribed := w.subscribed(t)
	if len(subscribed) < 5*len(awkwardTenants) {
		t.Errorf("only %d subjects are subscribed to", len(subscribed))
	}
	for _, subject := range subscribed {
		if !interest.MatchString(subject) {
			t.Errorf("a node subscribes to %q", subject)
		}
	}
}

// TestNamesThatAreNone tries names that would break out of a subject, a channel
// or a line of text.
func TestNamesThatAreNone(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	w := s.watch(t)
	n := startNode(ctx, t, "a", "--nats-url", s.URL())
	c := control(t, n)
	bystander := connectAs(ctx, t, n, greedyClaims("1"))
	join(ctx, t, bystander, "tenant:1:general")

	names := []string{
		"", " ", "1 0", "1\x00", "\x00", "1\n", "1\r\n0", "\t", "1\u00a0", "1\u2028", "\u0085", "1\x7f", "*", "**",
		"1:admin", "1:", ":1", ":", strings.Repeat("1", 129),
	}
	for _, name := range names {
		_, err := c.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
			TenantId: name, EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: `{}`},
		})
		wantInvalid(t, fmt.Sprintf("BroadcastTenant %q", name), err)
		_, err = c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
			TenantId: name, UserId: "u", Payload: &pushdv1.NotifyUserRequest_Json{Json: `{}`},
		})
		wantInvalid(t, fmt.Sprintf("NotifyUser %q", name), err)
		_, err = c.SendChannel(ctx, &pushdv1.SendChannelRequest{
			TenantId: "1", Channel: "tenant:1:general:" + name + ":", EventType: "news", Payload: &pushdv1.SendChannelRequest_Json{Json: `{}`},
		})
		wantInvalid(t, fmt.Sprintf("SendChannel %q", name), err)

		socket, err := harness.Upgrade(ctx, n.WebSocket(), sign(t, claims{"tenantId": name, "userId": "u"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		closed, err := socket.AwaitClose(ctx)
		if err != nil || closed.Code != 4201 {
			t.Errorf("token for tenant %q: %v, %v", name, closed, err)
		}
		if err := socket.Close(); err != nil {
			t.Error(err)
		}

		if err := bystander.Send("join_channel", map[string]string{"channel": "tenant:1:" + name + ":"}); err != nil {
			t.Fatal(err)
		}
		if answer, err := bystander.Expect(ctx, "error"); err != nil || answer.Field("code") != "invalid_channel" {
			t.Errorf("join %q: %s, %v", name, answer.Text, err)
		}
	}
	for _, foreign := range []string{"tenant:10:general", "notifications:10:u:all", "tenant:10"} {
		_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
			TenantId: "1", Channel: foreign, EventType: "news", Payload: &pushdv1.SendChannelRequest_Json{Json: `{}`},
		})
		wantInvalid(t, "SendChannel of 1 to "+foreign, err)
	}
	checkQuiet(ctx, t, bystander)
	messages, unwanted := regexp.MustCompile(messagesRegex), regexp.MustCompile(`^pd(?:1\.[cet]|h1|k1)\.`)
	for _, subject := range w.seen() {
		if !messages.MatchString(subject) || unwanted.MatchString(subject) {
			t.Errorf("a message went to %q", subject)
		}
	}
}

func wantInvalid(t *testing.T, what string, err error) {
	t.Helper()
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%s: %v", what, err)
	}
}
