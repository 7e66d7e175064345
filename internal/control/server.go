package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// Bounds of one connection; gRPC's own are far wider.
const (
	// handshakeTimeout bounds the time until HTTP/2 is spoken.
	handshakeTimeout = 5 * time.Second
	// maxStreams bounds the calls in flight; more wait at the client.
	maxStreams = 128
	// maxHeaderBytes bounds the metadata of a call.
	maxHeaderBytes = 16 << 10
	// requestRoom is what a request may have beside the payload, in bytes.
	requestRoom = 64 << 10
	// maxIdle closes a connection without calls.
	maxIdle = 15 * time.Minute
	// maxAge makes clients connect again and so find new nodes; calls in
	// flight have maxAgeGrace.
	maxAge      = 30 * time.Minute
	maxAgeGrace = time.Minute
	// A silent peer is pinged and, without an answer, given up.
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// minPing is how often clients may ping.
	minPing = 10 * time.Second
)

// Server serves the Control API. Its methods may be called concurrently.
type Server struct {
	// Set once.
	grpc    *grpc.Server
	guard   *guard
	health  *health
	sockets *sockets
	quit    chan struct{} // closed by Shutdown

	stopping sync.Once
}

// NewServer makes a server that publishes through r. It starts nothing. The
// error is about the options, or the registerer's.
func NewServer(o Options, r Router) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("control options: %w", err)
	}
	o = o.withDefaults()
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	quit := make(chan struct{})
	s := &Server{
		guard:   &guard{keys: o.Keys, log: o.Logger, metrics: m, quit: quit},
		health:  newHealth(r.Ready, quit),
		sockets: &sockets{most: o.MaxConnections, metrics: m, open: make(map[*socket]struct{})},
		quit:    quit,
	}
	s.grpc = grpc.NewServer(
		grpc.Creds(newSocketCredentials()),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.UnknownServiceHandler(s.guard.unknown()),
		// Payloads well over the limit are still read, so that the refusal can
		// say what is wrong.
		grpc.MaxRecvMsgSize(2*o.MaxPayload+requestRoom),
		grpc.MaxConcurrentStreams(maxStreams),
		// A tenth of the CPU of a call: stacks stay grown.
		grpc.NumStreamWorkers(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: maxIdle, MaxConnectionAge: maxAge, MaxConnectionAgeGrace: maxAgeGrace,
			Time: pingAfter, Timeout: pingTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)
	guarded := registrar{s.grpc, s.guard}
	pushdv1.RegisterControlServiceServer(guarded, &service{router: r, compose: composer{o.MaxPayload}, guard: s.guard})
	pushdv1.RegisterAdminServiceServer(guarded, &admin{history: r})
	grpc_health_v1.RegisterHealthServer(guarded, s.health)
	reflection.Register(guarded)
	return s, nil
}

// Serve takes calls from ln until Shutdown, and closes ln. It returns nil after
// Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.grpc.Serve(s.sockets.listen(ln)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// SetServing says what the health service answers while the Router is ready.
// At first it is false.
func (s *Server) SetServing(serving bool) { s.health.set(serving) }

// Shutdown takes no more calls, ends watchers of health, and waits for the
// calls in flight. When ctx ends they are cut, and that is the error. No
// goroutine is left, once the Router has obeyed the context of its calls. It
// may be called before Serve or without it, and more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.set(false)
	s.stopping.Do(func() { close(s.quit) })
	var err error
	finished := make(chan struct{})
	var graceful sync.WaitGroup
	graceful.Go(func() {
		s.grpc.GracefulStop()
		close(finished)
	})
	select {
	case <-finished:
	case <-ctx.Done():
		s.sockets.cut() // which ends the contexts of their calls
		err = fmt.Errorf("calls in flight were cut: %w", context.Cause(ctx))
	}
	graceful.Wait()
	s.guard.background.Wait()
	return err
}
