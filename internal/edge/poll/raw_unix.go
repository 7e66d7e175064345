//go:build darwin || linux

package poll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawSupported says that sockets with a descriptor are read and written by
// system calls of our own.
const rawSupported = true

// rawIO reads and writes a non-blocking descriptor. A reader that waits holds
// no buffer.
type rawIO struct {
	conn net.Conn
	raw  syscall.RawConn
}

func (r *rawIO) read(buffers *sync.Pool, use func([]byte)) error {
	var (
		n    int
		fail error
		buf  *[readSize]byte
	)
	err := r.raw.Read(func(fd uintptr) bool {
		if buf == nil {
			buf = buffers.Get().(*[readSize]byte) //nolint:forcetypeassert // The pool holds nothing else.
		}
		n, fail = ignoringEINTR(func() (int, error) { return unix.Read(int(fd), buf[:]) })
		if errors.Is(fail, unix.EAGAIN) {
			buffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if buf == nil {
		return fmt.Errorf("read socket: %w", err)
	}
	defer buffers.Put(buf)
	switch {
	case err != nil:
		return fmt.Errorf("read socket: %w", err)
	case fail != nil:
		return fmt.Errorf("read socket: %w", fail)
	case n == 0:
		return io.EOF
	default:
		use(buf[:n])
		return nil
	}
}

func (r *rawIO) write(bufs [][]byte) (int, error) {
	var (
		n    int
		fail error
	)
	// Always true: this never waits.
	err := r.raw.Write(func(fd uintptr) bool {
		n, fail = ignoringEINTR(func() (int, error) { return unix.Writev(int(fd), bufs) })
		return true
	})
	n = max(n, 0)
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // The caller wraps it.
	case errors.Is(fail, unix.EAGAIN):
		return 0, nil
	default:
		return n, fail
	}
}

func (r *rawIO) awaitWritable() {
	// The wait below is for an edge, so an edge that came before it must be
	// looked for. An error means that the socket has ended.
	_ = r.raw.Write(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // A descriptor is small.
		n, err := ignoringEINTR(func() (int, error) { return unix.Poll(fds, 0) })
		return err != nil || n > 0
	})
}

func (r *rawIO) closeWrite() error { return halfClose(r.conn) }

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
