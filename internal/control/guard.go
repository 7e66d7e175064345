package control

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// guard stands around every call, unary or stream. It is no interceptor, for
// those of unary calls run when the request was already read, and none runs
// for unknown methods: here nothing of a call without a key is read.
type guard struct {
	// Set once.
	keys    Keys
	log     *slog.Logger
	metrics *metrics
	quit    <-chan struct{} // closed when streams must end

	// background are the goroutines of streams beside that of the call. They end
	// with the stream; Shutdown waits for them.
	background sync.WaitGroup
}

// method is what the guard knows of one method.
type method struct {
	name   string // as on the wire, or unknownMethod
	open   bool   // needs no key
	stream bool
	minds  bool // a stream that minds the shutdown itself
}

// registrar registers services with every method behind the guard.
type registrar struct {
	*grpc.Server
	guard *guard
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	guarded := *desc
	guarded.Methods = slices.Clone(desc.Methods)
	guarded.Streams = slices.Clone(desc.Streams)
	prefix, open := "/"+desc.ServiceName+"/", isOpen(desc.ServiceName)
	for i := range guarded.Methods {
		m := &guarded.Methods[i]
		m.Handler = r.guard.unary(&method{name: prefix + m.MethodName, open: open}, m.Handler)
	}
	for i := range guarded.Streams {
		s := &guarded.Streams[i]
		name := prefix + s.StreamName
		s.Handler = r.guard.streaming(&method{name: name, open: open, stream: true, minds: mindsShutdown(name)}, s.Handler)
	}
	r.Server.RegisterService(&guarded, impl)
}

func (g *guard) unary(m *method, next grpc.MethodHandler) grpc.MethodHandler {
	return func(impl any, ctx context.Context, receive func(any) error, _ grpc.UnaryServerInterceptor) (reply any, err error) {
		err = g.call(ctx, m, func() error {
			var err error
			reply, err = next(impl, ctx, func(v any) error { return read(receive, v) }, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		return reply, nil
	}
}

func (g *guard) streaming(m *method, next grpc.StreamHandler) grpc.StreamHandler {
	return func(impl any, s grpc.ServerStream) error {
		return g.call(s.Context(), m, func() error {
			if m.minds {
				return next(impl, &readStream{ServerStream: s})
			}
			return next(impl, &guardedStream{s, g})
		})
	}
}

// unknown answers calls of methods that do not exist.
func (g *guard) unknown() grpc.StreamHandler {
	return g.streaming(&method{name: unknownMethod, stream: true}, func(any, grpc.ServerStream) error {
		return errUnknownMethod
	})
}

// call runs one call and returns what the caller is told.
func (g *guard) call(ctx context.Context, m *method, run func() error) error {
	begin := time.Now()
	var caller string
	var err error
	if !m.open {
		if caller, err = authorize(ctx, g.keys); err == nil {
			admitted(ctx)
		}
	}
	if err == nil {
		err = g.recovered(m, caller, run)
	}
	st, known := statusOf(err)
	if !known {
		g.log.Error("control call failed", "method", m.name, "caller", caller, "error", err)
	}
	g.metrics.ended(m, st.Code(), time.Since(begin))
	return st.Err()
}

// recovered runs a call; a panic becomes an error that is already logged.
func (g *guard) recovered(m *method, caller string, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.metrics.panics.Inc()
			g.log.Error("control call panicked", "method", m.name, "caller", caller,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	return run()
}

// mindsShutdown reports whether a method ends its streams itself when the
// server shuts down.
func mindsShutdown(name string) bool {
	return name == pushdv1.ControlService_Publish_FullMethodName
}

// readStream is a stream that goes on after a message that can't be read.
type readStream struct {
	grpc.ServerStream
	in incoming // RecvMsg alone uses it, one call at a time
}

// RecvMsg implements grpc.ServerStream.
func (s *readStream) RecvMsg(v any) error {
	s.in.message = v
	return s.in.read(s.ServerStream.RecvMsg)
}

// guardedStream is a stream whose reader does not wait for a silent client
// when the server shuts down.
type guardedStream struct {
	grpc.ServerStream
	guard *guard
}

// RecvMsg implements grpc.ServerStream.
func (s *guardedStream) RecvMsg(v any) error {
	got := make(chan error, 1)
	// It ends with the stream at the latest.
	s.guard.background.Go(func() { got <- read(s.ServerStream.RecvMsg, v) })
	select {
	case err := <-got:
		return err
	case <-s.guard.quit:
		return errStopping
	}
}
