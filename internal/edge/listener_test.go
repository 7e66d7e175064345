package edge_test

import (
	"net"
	"sync"
)

// chanListener accepts what tests put into it: connections, or errors.
type chanListener struct {
	accepts chan any // net.Conn or error
	done    chan struct{}
	once    sync.Once
}

func newChanListener() *chanListener {
	return &chanListener{accepts: make(chan any), done: make(chan struct{})}
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepts:
		if err, ok := a.(error); ok {
			return nil, err
		}
		return a.(net.Conn), nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *chanListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *chanListener) Addr() net.Addr { return &net.TCPAddr{} }

// put makes Accept return a. It does nothing after Close.
func (l *chanListener) put(a any) {
	select {
	case l.accepts <- a:
	case <-l.done:
	}
}

// fromAfar is a connection whose peer is not on this machine.
type fromAfar struct {
	net.Conn

	remote net.Addr
}

func (f fromAfar) RemoteAddr() net.Addr { return f.remote }

// CloseWrite is what a pipe lacks.
func (f fromAfar) CloseWrite() error { return f.Conn.Close() }

// pipe puts one end of a connection in memory into l and returns the other.
func (l *chanListener) pipe(remote string) net.Conn {
	ours, theirs := net.Pipe()
	l.put(fromAfar{theirs, net.TCPAddrFromAddrPort(mustAddrPort(remote))})
	return ours
}
