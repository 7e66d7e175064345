package poll

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// eventsAtOnce bounds the events of one look at the epoll descriptor.
	eventsAtOnce = 256
	// readAtOnce is the size of the one read buffer, in bytes. A socket with
	// more to read has its turn again after the others.
	readAtOnce = 64 << 10
)

// New returns the best driver of this system for sockets whose handlers share
// lock.
func New(lock sync.Locker) (Driver, error) { return NewEpoll(lock) }

// Epoll is the driver that has one goroutine for all its sockets. It takes over
// their descriptors, so that an idle socket costs a few dozen bytes. What has
// no TCP descriptor is given to a Goroutine driver.
//
// The epoll descriptor is itself waited for by Go's poller: a parked Epoll
// blocks no thread.
//
// Who may touch a descriptor: reads and close(2) are the goroutine's alone, so
// that neither can hit a descriptor that was closed and given out again; writes
// come with the lock held, which close(2) needs too.
type Epoll struct {
	// set once
	lock    sync.Locker
	file    *os.File // the epoll descriptor
	fd      int      // the same
	raw     syscall.RawConn
	streams *Goroutine
	running sync.WaitGroup

	// open counts sockets.
	open sync.WaitGroup

	// guarded by lock
	sockets []*epollSocket // by index; nil: free
	gens    []uint32       // by index: counts its uses
	free    []uint32
	iovecs  [MaxBuffers]unix.Iovec
	record  []byte // what goes into the next TLS record
}

// NewEpoll starts a driver without sockets.
func NewEpoll(lock sync.Locker) (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("make epoll: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make epoll: %w", err), file.Close())
	}
	e := &Epoll{lock: lock, file: file, fd: fd, raw: raw, streams: NewGoroutine(lock)}
	e.running.Go(e.run)
	return e, nil
}

// Attach implements Driver.
func (e *Epoll) Attach(nc net.Conn, pipelined []byte, h Handler) (Socket, error) {
	switch nc := nc.(type) {
	case *net.TCPConn, *lazyConn:
		s := &epollSocket{driver: e, handler: h, pipelined: pipelined}
		if err := e.take(nc, s); err != nil {
			return nil, err
		}
		return s, nil
	case *tls.Conn:
		if s, ok, err := e.attachTLS(nc, pipelined, h); ok || err != nil {
			return s, err
		}
	}
	return e.streams.Attach(nc, pipelined, h)
}

// take makes s a socket with the descriptor of nc. On an error nc is as it was.
func (e *Epoll) take(nc net.Conn, s *epollSocket) (err error) {
	add := func(fd int) error {
		s.fd = fd
		return e.add(s)
	}
	switch nc := nc.(type) {
	case *lazyConn:
		err = nc.takeOver(add)
	case *net.TCPConn:
		if err = nc.SetWriteBuffer(kernelQueue); err == nil {
			err = takeDuplicate(nc, add)
		}
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return fmt.Errorf("attach socket: %w", err)
	}
	return nil
}

// connFile is what has a descriptor that Go's poller knows.
type connFile interface {
	syscall.Conn
	io.Closer
}

// takeDuplicate gives add a duplicate of conn's descriptor, one that Go's poller
// does not know, and closes conn, which can't harm it. On an error conn is as it
// was.
func takeDuplicate(conn connFile, add func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("raw connection: %w", err)
	}
	var (
		fd   int
		fail error
	)
	err = raw.Control(func(from uintptr) { fd, fail = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, fail); err != nil {
		return fmt.Errorf("duplicate descriptor: %w", err)
	}
	if err := add(fd); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	_ = conn.Close()
	return nil
}

// add makes a place for s and watches it. It is told of what comes too: mostly
// Start follows before anything does, and has nothing to change. Lock held.
func (e *Epoll) add(s *epollSocket) error {
	if last := len(e.free) - 1; last >= 0 {
		s.index = e.free[last]
		e.free = e.free[:last]
	} else {
		s.index = uint32(len(e.sockets)) //nolint:gosec // Far fewer descriptors than that.
		e.sockets = append(e.sockets, nil)
		e.gens = append(e.gens, 0)
	}
	s.armed = unix.EPOLLIN
	event := s.event()
	if err := unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, s.fd, &event); err != nil {
		e.free = append(e.free, s.index)
		return fmt.Errorf("add to epoll: %w", err)
	}
	e.sockets[s.index] = s
	e.open.Add(1)
	return nil
}

// Wait implements Driver.
func (e *Epoll) Wait() {
	e.open.Wait()
	e.streams.Wait()
}

// Close implements Driver.
func (e *Epoll) Close() {
	_ = e.file.Close() // run learns of it
	e.running.Wait()
}

// run is the driver's goroutine. It ends when the epoll descriptor is closed.
func (e *Epoll) run() {
	events := make([]unix.EpollEvent, eventsAtOnce)
	buf := make([]byte, readAtOnce)
	for {
		n, err := e.poll(events)
		if err != nil {
			return
		}
		for i := range events[:n] {
			e.handle(&events[i], buf)
		}
	}
}

// poll waits for events, parked in Go's poller.
func (e *Epoll) poll(events []unix.EpollEvent) (n int, err error) {
	var fail error
	err = e.raw.Read(func(fd uintptr) bool {
		n, fail = ignoringEINTR(func() (int, error) { return unix.EpollWait(int(fd), events, 0) })
		return n != 0 || fail != nil
	})
	return n, errors.Join(err, fail)
}

// handle reads what is to be read and tells the socket's handler. An event may
// be stale: its socket was closed by one before it, and the index may even be
// in use again.
func (e *Epoll) handle(event *unix.EpollEvent, buf []byte) {
	e.lock.Lock()
	defer e.lock.Unlock()
	index := uint32(event.Fd) //nolint:gosec // It was one when it went in.
	s := e.sockets[index]
	if s == nil || e.gens[index] != uint32(event.Pad) { //nolint:gosec // As above.
		return
	}
	ready := event.Events & (unix.EPOLLIN | unix.EPOLLHUP | unix.EPOLLERR)
	if ready == unix.EPOLLIN && !s.started && !s.closing {
		s.rearm() // and Start asks again
		ready = 0
	}
	if event.Events&unix.EPOLLOUT != 0 {
		s.writable()
	}
	if s.pipelined != nil && s.started && !s.closing {
		data := s.pipelined
		s.pipelined = nil
		s.rearm()
		s.handler.Readable(data)
	}
	if ready != 0 || s.more && s.started {
		e.read(s, buf)
	}
}

// read reads once and tells the handler, or ends s. Lock held, but given up
// for the read itself: only this goroutine can close the descriptor.
func (e *Epoll) read(s *epollSocket, buf []byte) {
	if s.closing || !s.started {
		s.destroy(nil)
		return
	}
	var err error
	if s.tls != nil {
		s.more = false
		err = s.tls.read(buf)
	} else {
		var n int
		e.lock.Unlock()
		n, err = descriptor{s.fd}.Read(buf)
		e.lock.Lock()
		if n > 0 && !s.closing {
			s.handler.Readable(buf[:n])
		}
	}
	var wait waitError
	switch {
	case s.closing || errors.Is(err, io.EOF):
		s.destroy(nil)
	case err != nil && !errors.As(err, &wait):
		s.destroy(err)
	}
}
