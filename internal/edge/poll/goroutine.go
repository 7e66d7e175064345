package poll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	// readSize is the size of the pooled read buffers, in bytes.
	readSize = 16 << 10
	// kernelQueue caps the kernel's send buffer, in bytes, so that it does not
	// hide a slow receiver for long.
	kernelQueue = 64 << 10
)

// Goroutine is the driver that has a reader goroutine per socket. It serves
// every net.Conn; sockets with a file descriptor are written to without a copy.
type Goroutine struct {
	lock    sync.Locker
	buffers sync.Pool // of *[readSize]byte
	running sync.WaitGroup
}

// NewGoroutine returns a driver without sockets.
func NewGoroutine(lock sync.Locker) *Goroutine {
	return &Goroutine{lock: lock, buffers: sync.Pool{New: func() any { return new([readSize]byte) }}}
}

// Attach implements Driver.
func (g *Goroutine) Attach(nc net.Conn, pipelined []byte, h Handler) (Socket, error) {
	lock := g.lock
	s := &goSocket{
		conn: nc, lock: lock, handler: h, driver: g,
		start: make(chan struct{}), closed: make(chan struct{}),
	}
	raw, err := rawConn(nc)
	if err != nil {
		return nil, fmt.Errorf("attach socket: %w", err)
	}
	if raw != nil {
		s.io = &rawIO{conn: nc, raw: raw}
	} else {
		s.io = &streamIO{conn: nc, lock: lock, spawnLocked: s.spawnLocked}
	}
	g.running.Go(func() { s.run(pipelined) })
	return s, nil
}

// Wait implements Driver.
func (g *Goroutine) Wait() { g.running.Wait() }

// Close implements Driver: there is nothing to end.
func (g *Goroutine) Close() {}

// rawConn returns the descriptor of nc, or nil when it has none that can be
// used here.
func rawConn(nc net.Conn) (syscall.RawConn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok || !rawSupported {
		return nil, nil
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if err := tcp.SetWriteBuffer(kernelQueue); err != nil {
			return nil, fmt.Errorf("set send buffer: %w", err)
		}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("raw connection: %w", err)
	}
	return raw, nil
}

// socketIO is what differs between sockets with and without a descriptor.
type socketIO interface {
	// read waits until something came, takes a buffer from buffers, and hands
	// what was read to use. It returns io.EOF at the end of the stream.
	read(buffers *sync.Pool, use func([]byte)) error
	// write is Socket.Write.
	write(bufs [][]byte) (int, error)
	// awaitWritable waits until write makes sense again, or the socket ends.
	awaitWritable()
	// closeWrite is Socket.CloseWrite.
	closeWrite() error
}

// goSocket is a socket with a reader goroutine. While a write waits for the
// kernel there is a second goroutine.
type goSocket struct {
	// set once
	conn    net.Conn
	io      socketIO
	lock    sync.Locker
	handler Handler
	driver  *Goroutine
	start   chan struct{} // closed by Start
	closed  chan struct{} // closed by Close

	helpers sync.WaitGroup // goroutines that write or wait to write

	// guarded by lock
	started, ended bool
}

// Start implements Socket.
func (s *goSocket) Start() {
	if !s.started {
		s.started = true
		close(s.start)
	}
}

// run is the reader. It ends after Close, or when the peer or an error ends
// the socket.
func (s *goSocket) run(pipelined []byte) {
	err := s.readAll(pipelined)
	select {
	case <-s.closed:
		err = nil // whatever it is, Close caused it
	default:
	}
	s.lock.Lock()
	s.Close()
	s.lock.Unlock()
	s.helpers.Wait()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.handler.Closed(err)
}

func (s *goSocket) readAll(pipelined []byte) error {
	select {
	case <-s.start:
	case <-s.closed:
		return nil
	}
	if len(pipelined) > 0 {
		s.readable(pipelined)
	}
	for {
		if err := s.io.read(&s.driver.buffers, s.readable); err != nil {
			return err
		}
	}
}

func (s *goSocket) readable(data []byte) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.handler.Readable(data)
}

// Write implements Socket.
func (s *goSocket) Write(bufs [][]byte) (int, error) {
	want := 0
	for _, b := range bufs {
		want += len(b)
	}
	n, err := s.io.write(bufs)
	if err != nil {
		return n, fmt.Errorf("write socket: %w", err)
	}
	if n < want {
		s.notifyWritable()
	}
	return n, nil
}

// spawnLocked runs f in a goroutine that run waits for. It reports false when
// the socket has ended.
func (s *goSocket) spawnLocked(f func()) bool {
	if s.ended {
		return false
	}
	s.helpers.Go(f)
	return true
}

// notifyWritable calls Writable once, later, unless the socket ends.
func (s *goSocket) notifyWritable() {
	s.spawnLocked(func() {
		s.io.awaitWritable()
		s.lock.Lock()
		defer s.lock.Unlock()
		if !s.ended {
			s.handler.Writable()
		}
	})
}

// CloseWrite implements Socket.
func (s *goSocket) CloseWrite() error { return s.io.closeWrite() }

// Close implements Socket.
func (s *goSocket) Close() {
	if s.ended {
		return
	}
	s.ended = true
	close(s.closed)
	// Whoever reads or writes learns of it there.
	_ = s.conn.Close()
}
