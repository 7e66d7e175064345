package control

import (
	"net"
	"sync"
)

// sockets are the open sockets of a server. gRPC can't cut a connection whose
// handshake is under way; whoever holds the socket can.
type sockets struct {
	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool // by cut
}

// listen returns ln, whose sockets are remembered until they are closed.
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
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // gRPC asks it whether it is temporary.
	}
	c := &socket{conn, l.sockets}
	l.sockets.mu.Lock()
	defer l.sockets.mu.Unlock()
	l.sockets.open[c] = struct{}{}
	if l.sockets.closed {
		_ = conn.Close() // gRPC finds it closed
	}
	return c, nil
}

type socket struct {
	net.Conn
	sockets *sockets
}

// Close implements net.Conn.
func (c *socket) Close() error {
	c.sockets.mu.Lock()
	delete(c.sockets.open, c)
	c.sockets.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // It is the socket's own.
}
