package edge

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/message"
)

// EchoOptions returns options for an echo server: its limits are above what a
// conformance suite sends, and it is silent unless spoken to.
func EchoOptions() Options {
	o := DefaultOptions()
	o.MaxMessageBytes = 64 << 20
	o.MessageTimeout = 10 * time.Minute
	o.InboundRate = math.Inf(1)
	o.OutboundQueueBytes = 256 << 20
	o.OutboundQueueFrames = 1 << 20
	o.OutboundMaxAge = 10 * time.Minute
	o.CompressionThreshold = 0
	o.PingInterval = time.Hour
	o.IdleTimeout = 2 * time.Hour
	o.DrainWindow = 0
	o.Handshake.AnyOrigin = true
	return o
}

// NewEchoServer makes a server on h that sends text and binary messages back
// as they came and lets everybody in, for those who judge the wire. All below
// messages is that of NewServer: handshake, sockets, frames, queues, closing.
// The fragments of a message are not bounded but by its size.
func NewEchoServer(h *Hub) (*Server, error) {
	tenant, err := address.ParseTenantID("echo")
	if err != nil {
		return nil, fmt.Errorf("echo server: %w", err)
	}
	for _, l := range h.loops {
		l.onOpen = func(*conn) {}
		l.onMessage = l.echoLocked
		l.limits.MaxFragments = h.opts.MaxMessageBytes
		l.deflateLimits.MaxFragments = h.opts.MaxMessageBytes
	}
	return NewServer(h, anybody{&auth.Principal{Tenant: tenant}}, lonely{}, nil, http.NotFoundHandler())
}

// echoLocked is handleLocked for an echo server.
func (l *loop) echoLocked(m frame.Message) error {
	c := l.current
	m, err := m.Inflated()
	if err != nil {
		return err
	}
	switch m.Op {
	case ws.OpText:
		c.sendLocked(frame.Text(m.Payload))
	case ws.OpBinary:
		c.sendLocked(frame.Binary(m.Payload))
	default:
		return l.handleLocked(m)
	}
	return c.stateErr()
}

// anybody is a Verifier that takes everyone for the same principal.
type anybody struct{ principal *auth.Principal }

// Verify implements Verifier.
func (a anybody) Verify(string) (*auth.Principal, error) { return a.principal, nil }

// lonely is a Bus without others on it.
type lonely struct{}

// Enqueue implements Bus.
func (lonely) Enqueue(*message.Message) error { return nil }

// Submit implements Bus.
func (lonely) Submit(m *message.Message, done func(message.Accepted, error)) error {
	done(message.Accepted{ID: m.ID}, nil)
	return nil
}

// Acquire implements Bus.
func (lonely) Acquire(address.Target, func(error)) bool { return true }

// Release implements Bus.
func (lonely) Release(address.Target) {}

// Ready implements Bus.
func (lonely) Ready() bool { return true }
