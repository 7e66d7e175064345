package e2e_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

func TestGuideClientInNode(t *testing.T) {
	node := requireNode(t)
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	checkGuideClient(ctx, t, n, node, "guide-node.mjs", nil)
}

// TestGuideClientInChromium serves the client from another origin than the
// node's, as an application would.
func TestGuideClientInChromium(t *testing.T) {
	node, chromium := requireBrowser(t)
	ctx := bounded(t)
	site := servePages(t)
	n := startNode(ctx, t, "solo", "--allow-origin", site)
	checkGuideClient(ctx, t, n, node, "guide-browser.mjs", map[string]string{
		"chromium": chromium, "page": site + "/guide.html",
	})
}

// servePages serves test/node until the test ends, and returns its origin.
func servePages(t *testing.T) string {
	t.Helper()
	site := httptest.NewServer(http.FileServerFS(os.DirFS(filepath.Join(suite.root, "test", "node"))))
	t.Cleanup(site.Close)
	return site.URL
}

// checkGuideClient follows guide-scenario.mjs.
func checkGuideClient(ctx context.Context, t *testing.T, n *harness.Node, node, program string, options map[string]string) {
	t.Helper()
	all := map[string]string{
		"base": "ws://" + n.HTTP, "tenant": "acme",
		"annToken": sign(t, claims{"tenantId": "acme", "userId": "ann"}),
		"bobToken": sign(t, claims{"tenantId": "acme", "sub": "bob"}),
		"badToken": sign(t, claims{"tenantId": "acme", "exp": 1}),
	}
	for name, value := range options {
		all[name] = value
	}
	s := startScript(ctx, t, node, program, all)

	var joined struct{ Channel string }
	for _, want := range []string{"tenant:acme:general", "tenant:acme:general"} {
		s.expect(t, "joined", &joined)
		if joined.Channel != want {
			t.Errorf("joined %q, want %q", joined.Channel, want)
		}
	}
	var welcome struct{ ConnectionID, Timestamp string }
	s.expect(t, "connection", &welcome)
	s.expect(t, "joined", &joined)
	if joined.Channel != "public:news" {
		t.Errorf("joined %q", joined.Channel)
	}
	var message struct {
		Channel   string
		Message   struct{ Text string }
		Sender    struct{ ID, ConnectionID string }
		Timestamp string
	}
	s.expect(t, "message", &message)
	if message.Channel != "tenant:acme:general" || message.Message.Text != "hello ann, 你好" ||
		message.Sender.ID != "bob" || message.Sender.ConnectionID != welcome.ConnectionID || message.Timestamp == "" {
		t.Errorf("message %+v", message)
	}
	var refusal struct{ Error string }
	s.expect(t, "refused", &refusal)
	if refusal.Error != "Access denied to channel" {
		t.Errorf("refused with %q", refusal.Error)
	}
	var subscribed struct{ Types []string }
	s.expect(t, "subscribed", &subscribed)
	if !slices.Equal(subscribed.Types, []string{"all"}) {
		t.Errorf("subscribed to %v", subscribed.Types)
	}
	sendToAnn(ctx, t, n)
	var notification, shipped struct{ Mark string }
	s.expect(t, "notification", &notification)
	s.expect(t, "event", &shipped)
	if notification.Mark != "for ann" || shipped.Mark != "for acme" {
		t.Errorf("notification %+v, event %+v", notification, shipped)
	}
	var closed struct{ Code int }
	s.expect(t, "closed", &closed)
	if closed.Code != 4200 {
		t.Errorf("expired token: closed with %d", closed.Code)
	}
	var done struct{ BobHears []any }
	s.expect(t, "done", &done)
	if len(done.BobHears) != 0 {
		t.Errorf("bob heard himself: %v", done.BobHears)
	}
	s.finish(t)
}

// sendToAnn does what a backend would.
func sendToAnn(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	c := control(t, n)
	if _, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: "acme", UserId: "ann", NotificationType: "orders",
		Payload: &pushdv1.NotifyUserRequest_Json{Json: payload("for ann")},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
		TenantId: "acme", EventType: "order_shipped", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: payload("for acme")},
	}); err != nil {
		t.Fatal(err)
	}
}
