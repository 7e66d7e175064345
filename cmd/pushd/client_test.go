package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// recorder is a Control API that takes everything, from callers with the key.
type recorder struct {
	pushdv1.UnimplementedControlServiceServer
	pushdv1.UnimplementedAdminServiceServer
	answer  *pushdv1.NotifyUserResponse
	history *pushdv1.GetHistoryResponse

	mu   sync.Mutex
	last any
}

func (r *recorder) NotifyUser(ctx context.Context, in *pushdv1.NotifyUserRequest) (*pushdv1.NotifyUserResponse, error) {
	if r.answer != nil {
		return r.answer, r.record(ctx, in)
	}
	return &pushdv1.NotifyUserResponse{MessageId: "id"}, r.record(ctx, in)
}

func (r *recorder) BroadcastTenant(ctx context.Context, in *pushdv1.BroadcastTenantRequest) (*pushdv1.BroadcastTenantResponse, error) {
	return &pushdv1.BroadcastTenantResponse{MessageId: "id"}, r.record(ctx, in)
}

func (r *recorder) BroadcastAll(ctx context.Context, in *pushdv1.BroadcastAllRequest) (*pushdv1.BroadcastAllResponse, error) {
	return &pushdv1.BroadcastAllResponse{MessageId: "id"}, r.record(ctx, in)
}

func (r *recorder) GetHistory(ctx context.Context, in *pushdv1.GetHistoryRequest) (*pushdv1.GetHistoryResponse, error) {
	return r.history, r.record(ctx, in)
}

func (r *recorder) SendChannel(ctx context.Context, in *pushdv1.SendChannelRequest) (*pushdv1.SendChannelResponse, error) {
	return &pushdv1.SendChannelResponse{MessageId: "id"}, r.record(ctx, in)
}

func (r *recorder) Stats(ctx context.Context, in *pushdv1.StatsRequest) (*pushdv1.StatsResponse, error) {
	return &pushdv1.StatsResponse{}, r.record(ctx, in)
}

func (r *recorder) record(ctx context.Context, in any) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer the-key" {
		return status.Error(codes.Unauthenticated, "a key is missing")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = in
	return nil
}

func startRecorder(t *testing.T) (*recorder, string) {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	s := grpc.NewServer()
	pushdv1.RegisterControlServiceServer(s, r)
	pushdv1.RegisterAdminServiceServer(s, r)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ln) }) // Stop makes it return
	t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	return r, ln.Addr().String()
}

func TestRequestsSayWhatWasTyped(t *testing.T) {
	r, addr := startRecorder(t)
	env := variables{"PUSHD_SERVER": addr, "PUSHD_KEY_FILE": write(t, "the-key\n")}

	got := runCommand(t, "", env, "send", "user", "acme", "ann", "--json", `{"a":1}`, "--notification-type", "orders")
	if got.code != exitOK || got.out != "accepted id\n" {
		t.Fatalf("got %+v", got)
	}
	n, ok := r.last.(*pushdv1.NotifyUserRequest)
	if !ok || n.GetTenantId() != "acme" || n.GetUserId() != "ann" || n.GetJson() != `{"a":1}` || n.GetNotificationType() != "orders" {
		t.Errorf("got %v", r.last)
	}

	got = runCommand(t, " {\"a\":1}\n", env, "send", "channel", "orders", "--tenant", "acme", "--type", "order", "--json", "-", "-o", "json")
	if got.code != exitOK || got.out != `{"message_id":"id","offset":"","epoch":"","duplicate":false,"receipt":null}`+"\n" {
		t.Fatalf("got %+v", got)
	}
	c, ok := r.last.(*pushdv1.SendChannelRequest)
	if !ok || c.GetTenantId() != "acme" || c.GetChannel() != "orders" || c.GetEventType() != "order" || c.GetJson() != `{"a":1}` {
		t.Errorf("got %v", r.last)
	}

	got = runCommand(t, "", env, "stats", "--tenant", "acme", "--channel", "orders", "--top", "5", "--fresh")
	if got.code != exitOK {
		t.Fatalf("got %+v", got)
	}
	s, ok := r.last.(*pushdv1.StatsRequest)
	if !ok || s.GetTenantId() != "acme" || s.GetChannel() != "orders" || s.GetTop() != 5 || !s.GetFresh() {
		t.Errorf("got %v", r.last)
	}

	got = runCommand(t, "", variables{"PUSHD_SERVER": addr}, "send", "user", "acme", "ann", "--json", "1")
	if got.code != exitFailure || !strings.Contains(got.err, "Unauthenticated") || !strings.Contains(got.err, "--key-file") {
		t.Errorf("without a key: %+v", got)
	}
}

func TestNobodyServes(t *testing.T) {
	const addr = "127.0.0.1:1"
	for name, args := range map[string][]string{
		"send":    {"send", "all", "--type", "x", "--json", "1", "--server", addr},
		"stats":   {"stats", "--server", addr},
		"stream":  {"send", "all", "--type", "x", "--stream", "--server", addr},
		"history": {"history", "user", "acme", "ann", "--server", addr},
		"watch":   {"stats", "--watch", "--server", addr},
		"health":  {"health", "--server", addr, "--http", "http://" + addr},
		"tail":    {"tail", "--token", "x", "--url", "ws://" + addr + "/ws"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", nil, args...)
			if r.code != exitFailure || r.out != "" || !strings.Contains(r.err, addr) {
				t.Errorf("got %+v", r)
			}
		})
	}
}
