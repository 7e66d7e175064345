package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// roleAdmin opens /ws/admin.
const roleAdmin = "admin"

// Verifier checks tokens. Safe for concurrent use.
type Verifier interface {
	// Verify returns who the token speaks for. The error wraps
	// auth.ErrExpired for a token that is right but for its age.
	Verify(token string) (*auth.Principal, error)
}

// Bus is what the edge needs of the cluster. No method blocks, and all may be
// called under a loop's mutex.
type Bus interface {
	// Enqueue publishes a client's message.
	Enqueue(m *message.Message) error
	// Submit publishes a client's message and calls done once, unless it returns
	// an error: when NATS has the message and, where it is kept, stored it, or
	// when that failed. done may be called before Submit returns, and must not
	// block.
	Submit(m *message.Message, done func(message.Accepted, error)) error
	// Acquire counts one local member of t in. True says that t's messages
	// reach this node. Otherwise ready is called once, later, when they do or
	// can't; the reference counts in either case.
	Acquire(t address.Target, ready func(error)) (live bool)
	// Release counts one local member of t out.
	Release(t address.Target)
	// Ready reports whether messages can be exchanged.
	Ready() bool
}

// Reporter takes what became of messages on this node.
type Reporter interface {
	// Report sends r to where the publisher of a message waits for it,
	// message.Message.ReportTo. It does not block, and may be called under a loop's
	// mutex.
	Report(to string, r message.NodeReport)
}

// History is what the edge needs to know of what is kept. Last and Read wait
// for answers; no lock may be held.
type History interface {
	// Keeps reports whether messages for t are stored by rule and can be.
	Keeps(t address.Target) bool
	// Last returns, for each of targets, the offset of its newest stored message
	// or, where there is none, one that all later offsets exceed. What was stored
	// before the call is counted in. Errors are those of package message, or the
	// context's.
	Last(ctx context.Context, targets []address.Target) (epoch string, offsets []uint64, err error)
	// Read returns stored messages of t.
	Read(ctx context.Context, t address.Target, q history.Query) (*history.Page, error)
}

// Server accepts WebSocket connections for a Hub. Requests that are not for
// the WebSocket paths go to an ordinary HTTP handler on the same port.
type Server struct {
	// set once
	hub        *Hub
	verifier   Verifier
	handshake  *handshake.Handshaker
	http       *http.Server
	passed     *passedConns
	failures   *failureLimiter
	verifying  chan struct{} // bounds token checks at once
	acceptRate rate
	now        chan struct{} // closed by CloseNow
	nowOnce    sync.Once

	inFlight sync.WaitGroup // handshakes
	serving  sync.WaitGroup // the HTTP server

	mu        sync.Mutex
	listeners []net.Listener
	early     earlySockets
	accepts   limiter
	draining  bool
}

// NewServer makes a server whose connections live on h. fallback answers
// every request that is not for /ws or /ws/admin. kept may be nil: nothing is.
// A bus that is a Reporter too gets the delivery reports.
func NewServer(h *Hub, v Verifier, b Bus, kept History, fallback http.Handler) (*Server, error) {
	h.bus, h.history = b, kept
	if kept != nil {
		h.feeds.begin()
	}
	if r, ok := b.(Reporter); ok {
		h.reporter.Store(&r)
	}
	s := &Server{
		hub:       h,
		verifier:  v,
		passed:    newPassedConns(),
		failures:  newFailureLimiter(),
		verifying: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		now:       make(chan struct{}),
	}
	if r := h.opts.AcceptRate; r > 0 {
		s.acceptRate = newRate(r, max(1, int(r)))
	}
	o := h.opts.Handshake
	o.Compression = h.compressor != nil
	o.Admit = s.admit
	hs, err := handshake.New(o)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	s.handshake = hs
	s.http = &http.Server{
		Handler:        fallback,
		ReadTimeout:    passedReadTimeout, // of the head too
		WriteTimeout:   30 * time.Second,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		ConnState:      s.passed.state,
	}
	// One request each: the next one may be an upgrade, which is not for this
	// server, and an idle connection would hold a place.
	s.http.SetKeepAlivesEnabled(false)
	s.serving.Go(func() {
		// It ends when Drain closes it.
		if err := s.http.Serve(s.passed); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("http server ended", "error", err)
		}
	})
	return s, nil
}

// Serve accepts connections from ln until Drain. It returns nil then, and the
// listener's error otherwise.
func (s *Server) Serve(ln net.Listener) error {
	ln, err := poll.Listen(ln)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		if err := ln.Close(); err != nil {
			return fmt.Errorf("close listener: %w", err)
		}
		return nil
	}
	s.listeners = append(s.listeners, ln)
	s.mu.Unlock()
	pause := acceptPause{}
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause.reset()
			s.accept(nc)
		case s.isDraining():
			return nil
		case isTemporary(err):
			s.hub.log.Warn("accept paused", "error", err)
			pause.wait(s.now)
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// accept starts the handshake of nc in a goroutine that Drain waits for.
func (s *Server) accept(nc net.Conn) {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		s.hub.metrics.refused(refuseDraining)
		_ = nc.Close()
		return
	}
	evicted := s.early.add(nc)
	s.inFlight.Add(1)
	s.mu.Unlock()
	if evicted {
		s.hub.metrics.refused(refuseBusy)
	}
	go func() {
		defer s.inFlight.Done()
		s.welcome(nc)
		s.mu.Lock()
		s.early.remove(nc)
		s.mu.Unlock()
	}()
}

// welcome takes nc from its first byte to its place on a loop.
func (s *Server) welcome(nc net.Conn) {
	began := time.Now()
	nc, err := s.secure(nc, began)
	if err != nil {
		s.hub.metrics.refused(refuseTLS)
		_ = nc.Close()
		return
	}
	up, err := s.handshake.Do(nc, began)
	var pass *handshake.Passthrough
	switch {
	case errors.As(err, &pass):
		if !s.passed.offer(pass.Conn) {
			s.hub.metrics.refused(refuseHTTPBusy)
		}
		return
	case err != nil: // answered by the handshake, or the peer is gone
		_ = nc.Close()
		return
	}
	code, p := s.identify(up)
	if p == nil {
		s.hub.metrics.tokenRefused(code)
		s.turnAway(nc, up.Answer, code)
		return
	}
	err = s.hub.attach(nc, up, p)
	switch {
	case err == nil:
	case errors.Is(err, errConnectionLimit):
		s.hub.metrics.refused(refuseUserLimit)
		sayGoodbye(nc, up.Answer, closeConnectionLimit)
	default:
		s.hub.log.Error("connection not attached", "error", err)
		s.hub.metrics.refused(refuseInternal)
		sayGoodbye(nc, up.Answer, ws.StatusInternalServerError)
	}
}

// turnAway closes nc for its token. An address that keeps trying bad ones gets
// the close frame and no more; good tokens from there are as good as ever, for
// an address may be a whole office's, or a load balancer's.
func (s *Server) turnAway(nc net.Conn, answer []byte, code ws.StatusCode) {
	if code != closeTokenInvalid {
		sayGoodbye(nc, answer, code)
		return
	}
	now := time.Now()
	if s.failures.blocked(nc.RemoteAddr(), now) {
		s.hub.metrics.refused(refuseAuthFailures)
		cutShort(nc, answer, code)
		return
	}
	s.failures.record(nc.RemoteAddr(), now)
	sayGoodbye(nc, answer, code)
}

// secure does the TLS handshake, if there is to be one. It has the time that the
// opening handshake has, counted from began for both together. The connection
// that comes back is nc's stead, also with an error.
func (s *Server) secure(nc net.Conn, began time.Time) (net.Conn, error) {
	o := &s.hub.opts
	if o.TLS == nil {
		return nc, nil
	}
	conn := poll.TLSServer(nc, o.TLS)
	if err := conn.SetDeadline(began.Add(cmp.Or(o.Handshake.Timeout, handshake.DefaultOptions().Timeout))); err != nil {
		return conn, fmt.Errorf("set deadline: %w", err)
	}
	if err := conn.HandshakeContext(context.Background()); err != nil {
		return conn, fmt.Errorf("TLS handshake: %w", err)
	}
	return conn, nil
}

// identify checks the token. A nil principal comes with the close code.
func (s *Server) identify(up *handshake.Upgraded) (ws.StatusCode, *auth.Principal) {
	s.verifying <- struct{}{}
	p, err := s.verifier.Verify(up.Token)
	<-s.verifying
	switch {
	case errors.Is(err, auth.ErrExpired):
		return closeTokenExpired, nil
	case err != nil:
		return closeTokenInvalid, nil
	case up.Admin && !p.HasRole(roleAdmin):
		return closeForbidden, nil
	default:
		return 0, p
	}
}

// admit is asked before an upgrade is answered.
func (s *Server) admit(net.Addr) *handshake.Refusal {
	switch {
	case s.isDraining():
		return s.refuse(refuseDraining, time.Second)
	case !s.hub.bus.Ready():
		return s.refuse(refuseNotReady, 2*time.Second)
	case !s.mayAccept():
		return s.refuse(refuseRate, time.Second)
	case s.hub.memory() >= memoryScarce:
		return s.refuse(refuseMemory, 5*time.Second)
	case s.hub.opts.MaxConnections > 0 && s.hub.connections.Load() >= int64(s.hub.opts.MaxConnections):
		return s.refuse(refuseFull, 10*time.Second)
	default:
		return nil
	}
}

// mayAccept takes one upgrade from the accept rate.
func (s *Server) mayAccept() bool {
	if s.hub.opts.AcceptRate <= 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepts.allow(s.acceptRate, s.hub.since(time.Now()), 1)
}

// refuse counts and makes the refusal of a node that can take no more.
func (s *Server) refuse(reason string, retryAfter time.Duration) *handshake.Refusal {
	s.hub.metrics.refused(reason)
	return &handshake.Refusal{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter, Reason: reason}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Drain stops accepting, asks every client to leave with 4000 spread over
// Options.DrainWindow, and returns when all are gone. When ctx ends first, the
// rest is cut and the error of ctx comes back. Call it once.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for _, ln := range s.listeners {
		_ = ln.Close()
	}
	s.mu.Unlock()

	gone := make(chan struct{})
	var waiter sync.WaitGroup
	waiter.Go(func() {
		s.inFlight.Wait()
		s.hub.awaitSockets()
		close(gone)
	})
	s.spread(ctx)
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("drain: %w", context.Cause(ctx))
		s.cutEarly()
		s.hub.cutAll()
	}
	waiter.Wait()
	_ = s.http.Close() // closing the listener of our own can't fail
	s.serving.Wait()
	return err
}

// CloseNow makes a running Drain close every connection at once, with 1001.
func (s *Server) CloseNow() { s.nowOnce.Do(func() { close(s.now) }) }

// cutEarly closes the sockets that are still in their handshake.
func (s *Server) cutEarly() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early.closeAll()
}
