package bench

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// eventsAtOnce bounds the events of one look at the epoll descriptor.
	eventsAtOnce = 256
	// readAtOnce is the size of a loop's one read buffer, in bytes.
	readAtOnce = 64 << 10
)

// loop reads its connections in one goroutine, which alone touches what is
// below once it runs. It waits in epoll_wait(2) itself, which blocks a thread:
// were the epoll descriptor waited for by Go's poller, every packet that comes
// while the loop is at work would wake the poller, and the server would pay for
// that in its write(2).
type loop struct {
	pool     *pool
	fd       int // epoll
	stop     int // eventfd: run ends when it is written to
	timer    int // timerfd: the next connection is due
	running  sync.WaitGroup
	sessions []*session
	sockets  []int // of the sessions that were started; -1: closed
	atOnce   int   // how many may be on their way to be ready
	making   int   // how many are
	buf      []byte
}

// What the events of stop and timer have in place of an index.
const (
	stopEvent  = -1
	timerEvent = -2
)

func newLoop(p *pool, sessions []*session, atOnce int) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make eventfd: %w", err), unix.Close(fd))
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make timer: %w", err), unix.Close(fd), unix.Close(stop))
	}
	l := &loop{
		pool: p, fd: fd, stop: stop, timer: timer, sessions: sessions,
		sockets: make([]int, 0, len(sessions)), atOnce: atOnce, buf: make([]byte, readAtOnce),
	}
	for own, pad := range map[int]int32{stop: stopEvent, timer: timerEvent} {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Pad: pad}
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, own, &event); err != nil {
			return nil, errors.Join(fmt.Errorf("watch own descriptor: %w", err), l.free())
		}
	}
	return l, nil
}

// free closes the loop's own descriptors.
func (l *loop) free() error {
	return errors.Join(unix.Close(l.fd), unix.Close(l.stop), unix.Close(l.timer))
}

// close ends run, if it runs, and frees the loop.
func (l *loop) close() error {
	// An eventfd that takes no more is one that run has to see already.
	_, _ = unix.Write(l.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	l.running.Wait()
	return l.free()
}

// run makes the connections and reads them until close.
func (l *loop) run() {
	defer func() {
		for i := range l.sockets {
			l.end(i)
		}
	}()
	l.startDue()
	events := make([]unix.EpollEvent, eventsAtOnce)
	for {
		n, err := l.wait(events)
		if err != nil {
			l.pool.fail(err)
			return
		}
		for i := range events[:n] {
			index := int(events[i].Pad)
			switch index {
			case stopEvent:
				return
			case timerEvent:
				_, _ = rawRead(l.timer, l.buf[:8]) // so that it is quiet until it is set again
				l.startDue()
				continue
			}
			if err := l.handle(index, events[i].Events); err != nil {
				l.pool.fail(err)
				l.end(index)
			}
		}
	}
}

// wait waits for events. It looks before it blocks: there usually are some, and
// Go's scheduler need not know of a call that returns at once.
func (l *loop) wait(events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0) //nolint:gosec // As unix.EpollWait does it.
	if errno == 0 && n > 0 {
		return int(n), nil
	}
	for {
		n, err := unix.EpollWait(l.fd, events, -1)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("wait for sockets: %w", err)
		}
	}
}

// startDue asks for the connections that are due, as far as there is room, and
// sets the timer for the one after them.
func (l *loop) startDue() {
	for l.making < l.atOnce && len(l.sockets) < len(l.sessions) {
		s, now := l.sessions[len(l.sockets)], l.pool.now()
		if s.due <= now {
			s.begin(now)
			l.start(s)
			continue
		}
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(s.due - now))}
		if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
			l.pool.fail(fmt.Errorf("set timer: %w", err))
		}
		return
	}
}

// start asks for the next connection, that of s.
func (l *loop) start(s *session) {
	index := len(l.sockets)
	l.making++
	fd, connected, err := dial(s.client)
	l.sockets = append(l.sockets, fd)
	if err == nil {
		err = l.add(index, connected)
	}
	if err != nil {
		l.pool.fail(fmt.Errorf("connect: %w", err))
		l.end(index)
	}
}

// add watches a new socket, and sends its request if it is connected.
func (l *loop) add(index int, connected bool) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Pad: int32(index)} //nolint:gosec // Fewer than descriptors.
	if !connected {
		event.Events = unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, l.sockets[index], &event); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	if !connected {
		return nil
	}
	return l.write(index, l.sessions[index].client.Request)
}

// handle does what a socket asks for. An error ends it.
func (l *loop) handle(index int, what uint32) error {
	if what&unix.EPOLLOUT != 0 {
		return l.connected(index)
	}
	s := l.sessions[index]
	n, err := rawRead(l.sockets[index], l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return s.lost()
	}
	before := s.state
	reply, err := s.receive(l.buf[:n], l.pool.now(), l.pool)
	if err != nil {
		return err
	}
	if before != stateReady && s.state == stateReady {
		l.making--
		l.startDue()
	}
	return l.write(index, reply)
}

// connected goes on with a socket whose connect took its time.
func (l *loop) connected(index int) error {
	fd := l.sockets[index]
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Pad: int32(index)} //nolint:gosec // Fewer than descriptors.
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_MOD, fd, &event); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return l.write(index, l.sessions[index].client.Request)
}

// write writes what always fits: requests are small and nothing waits before
// them.
func (l *loop) write(index int, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	n, err := unix.Write(l.sockets[index], text)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n < len(text) {
		return errors.New("write: the socket did not take a request")
	}
	return nil
}

// end closes a socket.
func (l *loop) end(index int) {
	if l.sockets[index] >= 0 {
		_ = unix.Close(l.sockets[index])
		l.sockets[index] = -1
	}
}

// rawRead reads a non-blocking socket without telling Go's scheduler, for which
// such a short call is not worth its while.
func rawRead(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // As syscall.Read does it.
	if errno != 0 {
		return 0, errno //nolint:wrapcheck // The caller wraps it.
	}
	return int(n), nil
}
