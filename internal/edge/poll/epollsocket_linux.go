package poll

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollSocket is one descriptor of an Epoll. All but the goroutine's reads
// happens with the driver's lock held.
type epollSocket struct {
	// set once
	driver  *Epoll
	handler Handler
	fd      int
	index   uint32

	tls       *tlsSocket // nil: plain
	pipelined []byte     // to be handed over after Start
	armed     uint32     // the events that epoll was asked for
	// more says that there is something to read of which epoll does not know.
	more    bool
	started bool
	// blocked says that the kernel took less than it was offered.
	blocked bool
	// closing says that Close was called: the goroutine does the rest.
	closing bool
	gone    bool // the descriptor is closed
}

// event makes the registration of s for the events in armed; errors and
// hang-ups are always told.
func (s *epollSocket) event() unix.EpollEvent {
	return unix.EpollEvent{
		Events: s.armed,
		Fd:     int32(s.index),                //nolint:gosec // 32 bits of user data, no number.
		Pad:    int32(s.driver.gens[s.index]), //nolint:gosec // As above.
	}
}

// rearm asks for the events that s needs now.
func (s *epollSocket) rearm() {
	var events uint32
	if s.started {
		events = unix.EPOLLIN
	}
	// What was pipelined has no event of its own: one for writing comes at once.
	if s.blocked || s.tls != nil && len(s.tls.unsent) > 0 || s.started && (s.more || s.pipelined != nil) {
		events |= unix.EPOLLOUT
	}
	if events == s.armed {
		return
	}
	s.armed = events
	event := s.event()
	// It can't fail for a descriptor that was added and is open.
	_ = unix.EpollCtl(s.driver.fd, unix.EPOLL_CTL_MOD, s.fd, &event)
}

// writable takes an event for writing.
func (s *epollSocket) writable() {
	if s.closing || s.tls != nil && len(s.tls.unsent) > 0 && !s.tls.flush() {
		return
	}
	was := s.blocked
	s.blocked = false
	s.rearm()
	if was {
		s.handler.Writable()
	}
}

// Start implements Socket.
func (s *epollSocket) Start() {
	if s.started || s.closing || s.gone {
		return
	}
	s.started = true
	s.rearm()
}

// Write implements Socket.
func (s *epollSocket) Write(bufs [][]byte) (int, error) {
	if s.closing || s.gone {
		return 0, net.ErrClosed
	}
	n, want, errno := s.driver.writev(s.fd, bufs)
	switch {
	case errno == 0 || errors.Is(errno, unix.EAGAIN):
	default:
		return 0, fmt.Errorf("write socket: %w", errno)
	}
	if n < want || len(bufs) > MaxBuffers {
		s.blocked = true
		s.rearm()
	}
	return n, nil
}

// writev writes bufs, at most MaxBuffers of them, without telling Go's
// scheduler: the call can't block. want is what it was given.
func (e *Epoll) writev(fd int, bufs [][]byte) (n, want int, errno syscall.Errno) {
	vectors := e.iovecs[:0]
	for _, b := range bufs[:min(len(bufs), MaxBuffers)] {
		if len(b) == 0 {
			continue
		}
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		vectors = append(vectors, v)
		want += len(b)
	}
	if len(vectors) == 0 {
		return 0, 0, 0
	}
	for {
		var r uintptr
		if len(vectors) == 1 {
			r, _, errno = syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), //nolint:gosec // As unix.Write does.
				uintptr(unsafe.Pointer(vectors[0].Base)), uintptr(vectors[0].Len))
		} else {
			r, _, errno = syscall.RawSyscall(unix.SYS_WRITEV, uintptr(fd),
				uintptr(unsafe.Pointer(&vectors[0])), uintptr(len(vectors))) //nolint:gosec // As unix.Writev does.
		}
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(bufs)
		clear(vectors) // so that no frame is kept
		if errno != 0 {
			return 0, want, errno
		}
		return int(r), want, 0
	}
}

// CloseWrite implements Socket.
func (s *epollSocket) CloseWrite() error {
	if s.closing || s.gone {
		return net.ErrClosed
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("close sending side: %w", err)
	}
	return nil
}

// Close implements Socket. The shutdown makes a hang-up, for which the driver's
// goroutine is watching: it alone closes descriptors.
func (s *epollSocket) Close() {
	if s.closing || s.gone {
		return
	}
	s.closing = true
	// A socket that is not connected any more has had its hang-up.
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
}

// destroy closes the descriptor and tells the handler. Only the driver's
// goroutine calls it.
func (s *epollSocket) destroy(err error) {
	e := s.driver
	s.gone = true
	_ = unix.EpollCtl(e.fd, unix.EPOLL_CTL_DEL, s.fd, nil)
	_ = unix.Close(s.fd)
	e.sockets[s.index] = nil
	e.gens[s.index]++
	e.free = append(e.free, s.index)
	s.handler.Closed(err)
	e.open.Done()
}
