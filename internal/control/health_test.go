package control_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/aegisx/pushd/internal/control"
)

const (
	serving    = grpc_health_v1.HealthCheckResponse_SERVING
	notServing = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	unknown    = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
)

func TestHealthCheck(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{Keys: mustKeys(t, goodKey)}, r)
	client := grpc_health_v1.NewHealthClient(f.conn)
	check := func(when string, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		names := []string{"", "pushd.v1.ControlService", "pushd.v1.AdminService"}
		for _, service := range names {
			got, err := client.Check(within(t), &grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil {
				t.Fatal(err)
			}
			if got.GetStatus() != want {
				t.Errorf("%s: %q is %s, want %s", when, service, got.GetStatus(), want)
			}
		}
		list, err := client.List(within(t), &grpc_health_v1.HealthListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetStatuses()) != len(names) {
			t.Errorf("%s: the list is %v", when, list)
		}
		for _, service := range names {
			if got := list.GetStatuses()[service].GetStatus(); got != want {
				t.Errorf("%s: the list says that %q is %s, want %s", when, service, got, want)
			}
		}
	}
	check("at first", notServing)
	f.server.SetServing(true)
	check("serving", serving)
	r.away.Store(true)
	check("without messaging", notServing)
	r.away.Store(false)
	check("with messaging", serving)
	f.server.SetServing(false)
	check("draining", notServing)

	_, err := client.Check(within(t), &grpc_health_v1.HealthCheckRequest{Service: "nothing"})
	checkRefusal(t, err, told{code: codes.NotFound, reason: "BAD_REQUEST"})
}

func watch(t *testing.T, f *fixture, service string) grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse] {
	t.Helper()
	stream, err := grpc_health_v1.NewHealthClient(f.conn).Watch(within(t), &grpc_health_v1.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestHealthWatch(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	stream, strange := watch(t, f, ""), watch(t, f, "nothing")
	next := func(s grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse], want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got.GetStatus() != want {
			t.Fatalf("got %s, want %s", got.GetStatus(), want)
		}
	}
	next(stream, notServing)
	next(strange, unknown)
	f.server.SetServing(true)
	next(stream, serving)
	f.server.SetServing(true) // no change, nothing is sent
	r.away.Store(true)
	next(stream, notServing)
	r.away.Store(false)
	next(stream, serving)

	// The last status is sent, then Shutdown ends the watchers.
	if err := f.server.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	next(stream, notServing)
	for _, s := range []grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]{stream, strange} {
		_, err := s.Recv()
		checkRefusal(t, err, told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true})
	}
}
