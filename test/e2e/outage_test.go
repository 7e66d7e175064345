package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// answerWithin is how long a call may take while NATS is away: the time for
// publishing, and much for a busy machine.
const answerWithin = 20 * time.Second

func TestNATSAway(t *testing.T) {
	ctx := bounded(t)
	s := startNATS(ctx, t)
	nodes := startAround(ctx, t, s, "a", "b")
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n), wantNodes("a", "b"))
	}
	ann, bob := connect(ctx, t, nodes[0], "acme", "ann"), connect(ctx, t, nodes[1], "acme", "bob")
	join(ctx, t, ann, "tenant:acme:general")
	join(ctx, t, bob, "tenant:acme:general")

	s.Stop()
	for _, n := range nodes {
		checkCallsUnavailable(ctx, t, control(t, n))
		checkNotReady(ctx, t, n)
	}
	for _, socket := range []*harness.Socket{ann, bob} {
		checkSocketSurvives(ctx, t, socket)
	}

	s.start(ctx, t)
	for _, n := range nodes {
		if err := awaitProbe(ctx, "http://"+n.HTTP+"/readyz", http.StatusOK); err != nil {
			t.Fatal(err)
		}
		awaitStored(ctx, t, control(t, n))
	}
	// All is as before, and nothing of what was refused comes late.
	for _, n := range nodes {
		callAll(ctx, t, control(t, n), "")
		if err := awaitMarks(ctx, ann, "user", "tenant", "channel", "all"); err != nil {
			t.Fatal(err)
		}
		if err := awaitMarks(ctx, bob, "tenant", "channel", "all"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ann.Say("tenant:acme:general", map[string]string{"mark": "after"}); err != nil {
		t.Fatal(err)
	}
	if err := awaitMarks(ctx, bob, "after"); err != nil {
		t.Error(err)
	}
	checkQuiet(ctx, t, ann)
	checkQuiet(ctx, t, bob)
	for _, n := range nodes {
		awaitStats(ctx, t, control(t, n), wantNodes("a", "b"))
	}
}

// checkCallsUnavailable makes every call that publishes; each must be refused,
// and soon.
func checkCallsUnavailable(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient) {
	t.Helper()
	for name, call := range map[string]func(context.Context) error{
		"NotifyUser": func(ctx context.Context) error {
			_, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
				TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: payload("late")},
			})
			return err
		},
		"BroadcastTenant": func(ctx context.Context) error {
			_, err := c.BroadcastTenant(ctx, &pushdv1.BroadcastTenantRequest{
				TenantId: "acme", EventType: "news", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: payload("late")},
			})
			return err
		},
		"SendChannel": func(ctx context.Context) error {
			_, err := c.SendChannel(ctx, &pushdv1.SendChannelRequest{
				Channel: "tenant:acme:general", EventType: "news", Payload: &pushdv1.SendChannelRequest_Json{Json: payload("late")},
			})
			return err
		},
		"BroadcastAll": func(ctx context.Context) error {
			_, err := c.BroadcastAll(ctx, &pushdv1.BroadcastAllRequest{
				EventType: "news", Payload: &pushdv1.BroadcastAllRequest_Json{Json: payload("late")},
			})
			return err
		},
	} {
		began := time.Now()
		if err := call(ctx); !isUnavailable(err) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > answerWithin {
			t.Errorf("%s took %s", name, took)
		}
	}
	answer, err := c.Stats(ctx, &pushdv1.StatsRequest{Fresh: true})
	if err != nil {
		t.Errorf("Stats: %v", err)
	}
	if answer.GetComplete() || answer.GetTotals().GetConnections() != 1 {
		t.Errorf("Stats: %s", answer)
	}
}

// awaitStored waits until what is stored is taken again: a node that is ready may
// come to its history a little later, by a connection of its own.
func awaitStored(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient) {
	t.Helper()
	if err := harness.Eventually(ctx, func(ctx context.Context) error {
		_, err := c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
			TenantId: "acme", UserId: "nobody", Payload: &pushdv1.NotifyUserRequest_Json{Json: payload("probe")},
		})
		return onlyUnavailable(err)
	}); err != nil {
		t.Fatal(err)
	}
}

// checkNotReady looks at everything that tells others to go elsewhere.
func checkNotReady(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	if err := awaitProbe(ctx, "http://"+n.HTTP+"/readyz", http.StatusServiceUnavailable); err != nil {
		t.Error(err)
	}
	if status, _, err := harness.Fetch(ctx, "http://"+n.HTTP+"/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("healthz: %d, %v", status, err)
	}
	_, conn, err := harness.Control(n.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("gRPC health: %v, %v", health, err)
	}
	answer := exchange(ctx, t, n.HTTP, upgradeRequest("/ws", "Authorization: Bearer "+sign(t, claims{"tenantId": "acme"})))
	if !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "\r\nRetry-After: ") {
		t.Errorf("new connection: %q", answer)
	}
}

// checkSocketSurvives uses a connection while nothing can be sent.
func checkSocketSurvives(ctx context.Context, t *testing.T, s *harness.Socket) {
	t.Helper()
	checkQuiet(ctx, t, s)
	if err := s.Say("tenant:acme:general", map[string]string{"mark": "late"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Send("join_channel", map[string]string{"channel": "tenant:acme:new"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m, err := s.Expect(ctx, "error")
		if err != nil {
			t.Fatal(err)
		}
		if m.Field("code") != "unavailable" {
			t.Errorf("got %s", m.Text)
		}
	}
}

// awaitProbe waits until a GET is answered with status.
func awaitProbe(ctx context.Context, url string, status int) error {
	return harness.Eventually(ctx, func(ctx context.Context) error {
		got, body, err := harness.Fetch(ctx, url)
		if err == nil && got != status {
			err = fmt.Errorf("%s: %d %s", url, got, body)
		}
		return err
	})
}
