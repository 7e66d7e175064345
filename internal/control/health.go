package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// watchInterval is how often a watcher looks whether the Router is ready.
const watchInterval = time.Second

// maxWatches bounds the watches of one connection. They need no key, and each is
// a goroutine for as long as the caller likes; a client needs one.
const maxWatches = 16

// health is the gRPC health service. The server as a whole (""), the
// ControlService and the AdminService serve when SetServing said so and the Router is ready.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	// Set once.
	ready func() bool
	quit  <-chan struct{}

	// Guarded by mu.
	mu      sync.Mutex
	serving bool
	changed chan struct{} // closed and replaced when serving changes
	// watches counts those of each connection, by its address.
	watches map[string]int
}

func newHealth(ready func() bool, quit <-chan struct{}) *health {
	return &health{ready: ready, quit: quit, changed: make(chan struct{}), watches: make(map[string]int)}
}

// set says whether the node takes calls.
func (h *health) set(serving bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.serving != serving {
		h.serving = serving
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// state returns the status of all services that exist, and a channel that is
// closed when set changes it.
func (h *health) state() (grpc_health_v1.HealthCheckResponse_ServingStatus, <-chan struct{}) {
	h.mu.Lock()
	serving, changed := h.serving, h.changed
	h.mu.Unlock()
	if serving && h.ready() {
		return grpc_health_v1.HealthCheckResponse_SERVING, changed
	}
	return grpc_health_v1.HealthCheckResponse_NOT_SERVING, changed
}

func isKnownService(name string) bool {
	switch name {
	case "", pushdv1.ControlService_ServiceDesc.ServiceName, pushdv1.AdminService_ServiceDesc.ServiceName:
		return true
	default:
		return false
	}
}

// Check implements the RPC.
func (h *health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if !isKnownService(r.GetService()) {
		return nil, errUnknownService
	}
	state, _ := h.state()
	return &grpc_health_v1.HealthCheckResponse{Status: state}, nil
}

// List implements the RPC.
func (h *health) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	state, _ := h.state()
	answer := &grpc_health_v1.HealthCheckResponse{Status: state}
	return &grpc_health_v1.HealthListResponse{Statuses: map[string]*grpc_health_v1.HealthCheckResponse{
		"": answer,
		pushdv1.ControlService_ServiceDesc.ServiceName: answer,
		pushdv1.AdminService_ServiceDesc.ServiceName:   answer,
	}}, nil
}

// Watch implements the RPC. It ends with the stream or when the server shuts
// down, then after the last status was sent.
func (h *health) Watch(r *grpc_health_v1.HealthCheckRequest, s grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	leave, ok := h.enter(s.Context())
	if !ok {
		return errTooManyWatches
	}
	defer leave()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN // never sent
	for stopping := false; ; {
		state, changed := h.state()
		if !isKnownService(r.GetService()) {
			state = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if state != last {
			if err := s.Send(&grpc_health_v1.HealthCheckResponse{Status: state}); err != nil {
				return fmt.Errorf("watch health: %w", err)
			}
			last = state
		}
		if stopping {
			return errStopping
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-h.quit:
			stopping = true
		case <-s.Context().Done():
			return fmt.Errorf("watch health: %w", s.Context().Err())
		}
	}
}

// enter counts a watch of the connection that ctx belongs to; not ok if it has
// too many. The caller calls leave.
func (h *health) enter(ctx context.Context) (leave func(), ok bool) {
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watches[from] >= maxWatches {
		return nil, false
	}
	h.watches[from]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.watches[from]--; h.watches[from] == 0 {
			delete(h.watches, from)
		}
	}, true
}
