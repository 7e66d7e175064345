package edge

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxPassed bounds the connections of the HTTP server.
	maxPassed = 256
	// passedReadTimeout bounds the reading of one request, its body included:
	// whoever is slow holds a place.
	passedReadTimeout = 5 * time.Second
	// busyTimeout bounds the answer to one more.
	busyTimeout = 100 * time.Millisecond
)

// busyAnswer is what one more gets.
const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// passedConns is the listener of the HTTP server: it gives out the connections
// whose first request was not for a WebSocket path, a bounded number at a time.
type passedConns struct {
	conns chan net.Conn
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func newPassedConns() *passedConns {
	return &passedConns{
		conns: make(chan net.Conn),
		slots: make(chan struct{}, maxPassed),
		done:  make(chan struct{}),
	}
}

// offer hands nc to the HTTP server. False: it has too many or has ended, and
// nc is closed.
func (p *passedConns) offer(nc net.Conn) bool {
	select {
	case p.slots <- struct{}{}:
	default:
		_ = nc.SetDeadline(time.Now().Add(busyTimeout))
		_, _ = nc.Write([]byte(busyAnswer)) // as far as it goes
		_ = nc.Close()
		return false
	}
	select {
	case p.conns <- nc:
		return true
	case <-p.done:
		<-p.slots
		_ = nc.Close()
		return false
	}
}

// state is told by the HTTP server how its connections are.
func (p *passedConns) state(_ net.Conn, now http.ConnState) {
	if now == http.StateClosed || now == http.StateHijacked {
		<-p.slots
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
