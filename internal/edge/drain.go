package edge

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

// drainStep is the grain of a drain: each step closes its share of the
// connections.
const drainStep = 50 * time.Millisecond

// spread closes every connection with 4000, in random order over the drain
// window, or with 1001 at once when CloseNow is called. Connections that
// finish their handshake meanwhile are closed at the end.
func (s *Server) spread(ctx context.Context) {
	all := s.hub.openConns()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // An order is no secret.
	steps := max(1, int(s.hub.opts.DrainWindow/drainStep))
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	code := s.drainCode()
	if code != closeDrain {
		steps = 0
	}
	for step, done := 1, 0; ; step++ {
		upTo := len(all)
		if step < steps {
			upTo = (len(all)*step + steps - 1) / steps
		}
		for _, c := range all[done:upTo] {
			c.end(code)
		}
		done = upTo
		if done == len(all) {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		case <-s.now:
			code = ws.StatusGoingAway
			steps = 0
		}
	}
	s.watchStragglers(ctx)
}

// drainCode is 4000, or 1001 once CloseNow was called.
func (s *Server) drainCode() ws.StatusCode {
	select {
	case <-s.now:
		return ws.StatusGoingAway
	default:
		return closeDrain
	}
}

// watchStragglers closes connections that came late out of their handshake,
// until none can come any more.
func (s *Server) watchStragglers(ctx context.Context) {
	settled := make(chan struct{})
	go func() { // ends with the handshakes, which Drain bounds and waits for
		s.inFlight.Wait()
		close(settled)
	}()
	select {
	case <-settled:
	case <-s.now:
		s.cutEarly()
		<-settled
	case <-ctx.Done():
		s.cutEarly()
		<-settled
	}
	for _, l := range s.hub.loops {
		l.mu.Lock()
		l.closeAllLocked(s.drainCode())
		l.mu.Unlock()
	}
}

// openConns lists the connections of now.
func (h *Hub) openConns() []*conn {
	var all []*conn
	for _, l := range h.loops {
		l.mu.Lock()
		for _, c := range l.conns {
			if c != nil {
				all = append(all, c)
			}
		}
		l.mu.Unlock()
	}
	return all
}

// end closes c with code.
func (c *conn) end(code ws.StatusCode) {
	l := c.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	c.closeLocked(code, closeReason(code))
	l.flushLocked()
}

// cutAll ends every connection without ceremony.
func (h *Hub) cutAll() {
	for _, c := range h.openConns() {
		c.loop.mu.Lock()
		if c.state != stateClosed {
			c.cutLocked()
		}
		c.loop.mu.Unlock()
	}
}
