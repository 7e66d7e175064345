package edge_test

import (
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/gobwas/ws"
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
func (f fromAfar) CloseWrite() error { return f.Close() }

// readFrame reads one frame of the server.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<20 {
		return ws.Frame{}, fmt.Errorf("frame of %d bytes", h.Length)
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// pipe puts one end of a connection in memory into l and returns the other.
func (l *chanListener) pipe(remote string) net.Conn {
	ours, theirs := net.Pipe()
	l.put(fromAfar{theirs, net.TCPAddrFromAddrPort(mustAddrPort(remote))})
	return ours
}
