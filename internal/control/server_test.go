package control_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

// inFlight starts a call that hangs in the router until release is closed or
// its context ends.
func inFlight(t *testing.T) (f *fixture, release chan struct{}, answer chan error) {
	t.Helper()
	release, answer = make(chan struct{}), make(chan error, 1)
	arrived := make(chan struct{})
	f = start(t, control.Options{}, &router{onPublish: func(ctx context.Context, _ *message.Message) error {
		close(arrived)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	var calling sync.WaitGroup
	t.Cleanup(calling.Wait)
	ctx := within(t)
	calling.Go(func() {
		_, err := f.api.NotifyUser(ctx, notify("acme", "ann", "", "1"))
		answer <- err
	})
	receive(t, arrived)
	return f, release, answer
}

func TestShutdownLetsCallsFinish(t *testing.T) {
	f, release, answer := inFlight(t)
	done := make(chan error, 1)
	var stopping sync.WaitGroup
	defer stopping.Wait()
	ctx := within(t)
	stopping.Go(func() { done <- f.server.Shutdown(ctx) })

	// New connections are refused while the call goes on.
	for {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown did not wait: %v", err)
	case err := <-answer:
		t.Fatalf("the call ended: %v", err)
	default:
	}
	close(release)
	if err := receive(t, answer); err != nil {
		t.Errorf("the call was refused: %v", err)
	}
	if err := receive(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := receive(t, f.served); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestShutdownCutsCalls(t *testing.T) {
	f, _, answer := inFlight(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := receive(t, answer); refusal(t, err).code != codes.Unavailable {
		t.Errorf("the call got %v", err)
	}
	if err := receive(t, f.served); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A client that keeps a stream open and says nothing does not hold it up.
func TestShutdownEndsStreams(t *testing.T) {
	f := start(t, control.Options{}, &router{})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(f.conn).ServerReflectionInfo(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.conn.Invoke(within(t), pushdv1.ControlService_Stats_FullMethodName, &pushdv1.StatsRequest{}, &pushdv1.StatsResponse{}); err != nil {
		t.Fatal(err) // so the stream has arrived too
	}
	if err := f.server.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	checkRefusal(t, err, told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true})
}

// A socket that never speaks is cut when the context ends, long before its
// handshake times out.
func TestShutdownCutsHandshakes(t *testing.T) {
	f := start(t, control.Options{}, &router{})
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err) // the server speaks first
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(begin); took > patience/2 { // the handshake may take two minutes
		t.Errorf("it took %s", took)
	}
}

func TestShutdownWithoutServe(t *testing.T) {
	server, err := control.NewServer(control.Options{}, &router{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(ln); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestServeFails(t *testing.T) {
	server, err := control.NewServer(control.Options{}, &router{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// syncBuffer is written by the logger.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Panics and internal errors are logged once; keys and payloads never.
func TestLogs(t *testing.T) {
	var logs syncBuffer
	failure := func() error { return nil }
	r := &router{onPublish: func(context.Context, *message.Message) error { return failure() }}
	f := start(t, control.Options{
		Keys:   mustKeys(t, "billing "+goodKey),
		Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, r)
	call := func(key string) error {
		_, err := f.api.NotifyUser(withKey(within(t), key), notify("hidden", "hidden", "", `"hidden"`))
		return err
	}
	badKey := strings.Repeat("bad", 20)
	if err := call(goodKey); err != nil {
		t.Fatal(err)
	}
	if err := call(badKey); strings.Contains(err.Error(), badKey) {
		t.Errorf("the caller is told %v", err)
	}
	if logs.String() != "" {
		t.Errorf("logged %s", logs.String())
	}

	failure = func() error { return errors.New("broken") }
	checkRefusal(t, call(goodKey), told{code: codes.Internal, reason: "INTERNAL"})
	if n := strings.Count(logs.String(), `msg="control call failed" method=/pushd.v1.ControlService/NotifyUser caller=billing error="publish: broken"`); n != 1 {
		t.Errorf("logged %s", logs.String())
	}

	failure = func() error {
		words := strings.Fields("one two")
		return errors.New(words[len(words)])
	}
	checkRefusal(t, call(goodKey), told{code: codes.Internal, reason: "INTERNAL"})
	for _, part := range []string{`msg="control call panicked"`, "caller=billing", "index out of range", "server_test.go"} {
		if strings.Count(logs.String(), part) < 1 {
			t.Errorf("%q is not logged: %s", part, logs.String())
		}
	}
	if n := strings.Count(logs.String(), "\n"); n != 2 {
		t.Errorf("%d lines are logged:\n%s", n, logs.String())
	}
	failure = func() error { return nil }
	if err := call(goodKey); err != nil {
		t.Errorf("after a panic: %v", err)
	}
	for _, secret := range []string{goodKey, badKey, "hidden"} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("%q is logged: %s", secret, logs.String())
		}
	}
}

// value returns the counter, or the count of the histogram, with these labels.
func value(t *testing.T, reg *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	metrics:
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if want, ok := labels[l.GetName()]; ok && want != l.GetValue() {
					continue metrics
				}
			}
			return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := &router{}
	f := start(t, control.Options{Keys: mustKeys(t, goodKey), Registerer: reg}, r)
	ctx := withKey(within(t), goodKey)
	for range 3 {
		if _, err := f.api.NotifyUser(ctx, notify("acme", "ann", "", "1")); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = f.api.NotifyUser(ctx, notify("", "ann", "", "1"))
	_, _ = f.api.NotifyUser(within(t), notify("acme", "ann", "", "1"))
	r.onPublish = func(context.Context, *message.Message) error { panic("oh") }
	_, _ = f.api.NotifyUser(ctx, notify("acme", "ann", "", "1"))
	for _, path := range []string{"/a/b", "/c/d", "/pushd.v1.ControlService/X"} {
		_ = try(ctx, f.conn, path)
	}
	_ = try(within(t), f.conn, "/a/b")

	const calls, notifyUser = "pushd_control_calls_total", "/pushd.v1.ControlService/NotifyUser"
	for _, c := range []struct {
		name, method, code string
		want               float64
	}{
		{calls, notifyUser, "OK", 3},
		{calls, notifyUser, "InvalidArgument", 1},
		{calls, notifyUser, "Unauthenticated", 1},
		{calls, notifyUser, "Internal", 1},
		{calls, "unknown", "Unimplemented", 3},
		{calls, "unknown", "Unauthenticated", 1},
		{"pushd_control_call_seconds", notifyUser, "", 6},
		{"pushd_control_call_seconds", "unknown", "", 0},
		{"pushd_control_panics_total", "", "", 1},
	} {
		labels := map[string]string{"method": c.method, "code": c.code}
		if got := value(t, reg, c.name, labels); got != c.want {
			t.Errorf("%s %s %s is %g, want %g", c.name, c.method, c.code, got, c.want)
		}
	}
	if _, err := control.NewServer(control.Options{Registerer: reg}, r); err == nil {
		t.Error("two servers share a registry")
	}
}
