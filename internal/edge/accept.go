package edge

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Bounds of the pause after a failed accept.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// acceptPause keeps a listener that can't accept (no file descriptors, say)
// from spinning.
type acceptPause struct{ next time.Duration }

func (p *acceptPause) reset() { p.next = 0 }

// wait pauses, twice as long as the last time, or until stop is closed.
func (p *acceptPause) wait(stop <-chan struct{}) {
	p.next = min(max(2*p.next, firstPause), maxPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

// isTemporary reports whether an accept may work again later: the peer gave
// up, or the system is short of something.
func isTemporary(err error) bool {
	for _, e := range []error{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// passedConns is the listener of the HTTP server: it gives out the connections
// whose first request was not for a WebSocket path.
type passedConns struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPassedConns() *passedConns {
	return &passedConns{conns: make(chan net.Conn), done: make(chan struct{})}
}

// offer hands nc to the HTTP server, or closes it when that has ended.
func (p *passedConns) offer(nc net.Conn) {
	select {
	case p.conns <- nc:
	case <-p.done:
		_ = nc.Close()
	}
}

// Accept implements net.Listener.
func (p *passedConns) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *passedConns) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener; the connections know their own.
func (p *passedConns) Addr() net.Addr { return &net.TCPAddr{} }
