package control

import (
	"container/list"
	"context"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// sockets are the open sockets of a server. gRPC can't cut a connection whose
// handshake is under way, and has no bound for how many there are; whoever holds
// the sockets can.
type sockets struct {
	// Set once.
	most    int // 0: no bound
	metrics *metrics

	// Guarded by mu.
	mu   sync.Mutex
	open map[*socket]struct{}
	// strangers are those of them that have brought no call that was let in, the
	// oldest first.
	strangers list.List // of *socket
	closed    bool      // by cut
}

// listen returns ln, whose sockets are remembered until they are closed. Of those
// that are too many the oldest stranger is closed, so that nobody without a key
// can keep out those who have one. Where there is no stranger the newest is
// closed at once: gRPC clients take that for what it is, and wait longer each
// time before they try again. Left in the listener's queue, they would wait for
// nothing and not know why.
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
		_ = conn.Close()
	}
}

// take remembers a socket; nil if there are too many.
func (s *sockets) take(conn net.Conn) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && len(s.open) >= s.most {
		s.metrics.connectionsRefused.Inc()
		if s.strangers.Len() == 0 {
			return nil
		}
		if oldest, ok := s.strangers.Front().Value.(*socket); ok {
			s.forgetLocked(oldest)
			_ = oldest.Conn.Close() // gRPC finds it closed
		}
	}
	c := &socket{Conn: conn, sockets: s}
	c.place = s.strangers.PushBack(c)
	s.open[c] = struct{}{}
	s.metrics.connections.Set(float64(len(s.open)))
	if s.closed {
		_ = conn.Close() // gRPC finds it closed
	}
	return c
}

// forgetLocked is told of a socket that is closed; more than once does no harm.
func (s *sockets) forgetLocked(c *socket) {
	delete(s.open, c)
	s.strangers.Remove(c.place)
	s.metrics.connections.Set(float64(len(s.open)))
}

type socket struct {
	net.Conn
	sockets *sockets
	place   *list.Element // among the strangers; guarded by sockets.mu
	known   atomic.Bool   // it is no stranger
}

// Close implements net.Conn.
func (c *socket) Close() error {
	c.sockets.mu.Lock()
	c.sockets.forgetLocked(c)
	c.sockets.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // It is the socket's own.
}

// admit says that a call on c was let in.
func (c *socket) admit() {
	if c.known.Load() {
		return
	}
	c.sockets.mu.Lock()
	defer c.sockets.mu.Unlock()
	c.known.Store(true)
	c.sockets.strangers.Remove(c.place)
}

// admitted says that the call of ctx was let in.
func admitted(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if from, ok := p.AuthInfo.(socketInfo); ok {
			from.socket.admit()
		}
	}
}

// socketInfo tells a call which socket it came by.
type socketInfo struct {
	credentials.AuthInfo
	socket *socket
}

// socketCredentials have no security, like those that they hold, and make the
// socketInfo.
type socketCredentials struct {
	credentials.TransportCredentials
}

func newSocketCredentials() credentials.TransportCredentials {
	return socketCredentials{insecure.NewCredentials()}
}

// ServerHandshake implements credentials.TransportCredentials.
func (s socketCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	_, info, err := s.TransportCredentials.ServerHandshake(conn)
	if c, ok := conn.(*socket); ok {
		info = socketInfo{info, c}
	}
	return conn, info, err //nolint:wrapcheck // There is none.
}

// Clone implements credentials.TransportCredentials.
func (s socketCredentials) Clone() credentials.TransportCredentials {
	return socketCredentials{s.TransportCredentials.Clone()}
}
