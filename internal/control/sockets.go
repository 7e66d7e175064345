package control

import (
	"net"
	"sync"
)

// sockets are the open sockets of a server. gRPC can't cut a connection whose
// handshake is under way, and has no bound for how many there are; whoever holds
// the sockets can.
type sockets struct {
	// Set once.
	most    int // 0: no bound
	metrics *metrics

	// Guarded by mu.
	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool // by cut
}

// listen returns ln, whose sockets are remembered until they are closed. Those
// that are too many are closed at once: gRPC clients take that for what it is,
// and wait longer each time before they try again. Left in the listener's queue,
// they would wait for nothing and not know why.
func (s *sockets) listen(ln net.Listener) net.Listener { return &listener{ln, s} }

// cut closes all that is open, and at once what is accepted from now on.
func (s *sockets) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		_ = c.Conn.Close()
	}
}

type listener struct {
	net.Listener
	sockets *sockets
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // gRPC asks it whether it is temporary.
		}
		if c := l.sockets.take(conn); c != nil {
			return c, nil
		}
		l.sockets.metrics.connectionsRefused.Inc()
		_ = conn.Close()
	}
}

// take remembers a socket; nil if there are too many.
func (s *sockets) take(conn net.Conn) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && len(s.open) >= s.most {
		return nil
	}
	c := &socket{conn, s}
	s.open[c] = struct{}{}
	s.metrics.connections.Set(float64(len(s.open)))
	if s.closed {
		_ = conn.Close() // gRPC finds it closed
	}
	return c
}

type socket struct {
	net.Conn
	sockets *sockets
}

// Close implements net.Conn.
func (c *socket) Close() error {
	c.sockets.mu.Lock()
	delete(c.sockets.open, c)
	c.sockets.metrics.connections.Set(float64(len(c.sockets.open)))
	c.sockets.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // It is the socket's own.
}
