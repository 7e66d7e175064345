package poll

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lazyConn is an accepted connection that Go's poller learns of only when
// something has to wait for it. Mostly nothing does, since the request is there
// when the connection is accepted; then a driver takes the descriptor as it is,
// which saves the registration, a duplicate and a close.
//
// It is as safe for concurrent use as any net.Conn. Whoever has the descriptor
// closes it: lazyConn itself, its file, or the driver that took it over.
type lazyConn struct {
	remote netip.AddrPort

	// writing is held for a whole Write, so that two don't mix. It comes before mu.
	writing sync.Mutex

	mu sync.Mutex
	// fd is -1 when it was closed, taken over, or given to file.
	fd int
	// file is the descriptor with Go's poller; nil: nothing had to wait.
	file                        *os.File
	readDeadline, writeDeadline time.Time // for file
}

// try calls op, a system call that does not wait. When it would have to, or file
// has the descriptor already, file comes back, for the caller to ask.
func (c *lazyConn) try(op func(fd int, p []byte) (int, error), p []byte) (n int, file *os.File, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		n, err = ignoringEINTR(func() (int, error) { return op(c.fd, p) })
		if !errors.Is(err, unix.EAGAIN) {
			return n, nil, err
		}
	}
	file, err = c.parkLocked()
	return 0, file, err
}

// parkLocked tells Go's poller of the descriptor.
func (c *lazyConn) parkLocked() (*os.File, error) {
	if c.file != nil {
		return c.file, nil
	}
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	c.file, c.fd = os.NewFile(uintptr(c.fd), "socket"), -1
	return c.file, c.passDeadlinesLocked()
}

// Read implements net.Conn.
func (c *lazyConn) Read(p []byte) (int, error) {
	n, file, err := c.try(unix.Read, p)
	if file != nil && err == nil {
		n, err = file.Read(p)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, c.opError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

// Write implements net.Conn.
func (c *lazyConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, file, err := c.try(unix.Write, p)
	if err == nil && file == nil && n < len(p) {
		file, err = c.park()
	}
	if err == nil && file != nil {
		var more int
		more, err = file.Write(p[n:])
		n += more
	}
	if err != nil {
		return max(n, 0), c.opError("write", err)
	}
	return n, nil
}

// park is parkLocked without the lock.
func (c *lazyConn) park() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parkLocked()
}

// opError makes err what a net.Conn says.
func (c *lazyConn) opError(op string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn. It does nothing to a descriptor that was taken
// over.
func (c *lazyConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, file := c.fd, c.file
	c.fd, c.file = -1, nil
	var err error
	switch {
	case file != nil:
		err = file.Close()
	case fd >= 0:
		err = unix.Close(fd)
	default:
		err = net.ErrClosed
	}
	if err != nil {
		return c.opError("close", err)
	}
	return nil
}

// CloseWrite ends the sending side.
func (c *lazyConn) CloseWrite() error {
	err := c.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
	if err != nil {
		return c.opError("close", err)
	}
	return nil
}

// control calls f with the descriptor, which stays open meanwhile.
func (c *lazyConn) control(f func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.file != nil:
		raw, err := c.file.SyscallConn()
		if err != nil {
			return err //nolint:wrapcheck // The caller wraps it.
		}
		var fail error
		err = raw.Control(func(fd uintptr) { fail = f(int(fd)) })
		return errors.Join(err, fail)
	case c.fd >= 0:
		return f(c.fd)
	default:
		return net.ErrClosed
	}
}

// SyscallConn implements syscall.Conn.
func (c *lazyConn) SyscallConn() (syscall.RawConn, error) {
	file, err := c.park()
	if err != nil {
		return nil, c.opError("raw", err)
	}
	return file.SyscallConn() //nolint:wrapcheck // As that of any connection.
}

// takeOver gives the descriptor, or a duplicate when Go's poller knows it, to
// add, which owns it from then on unless it fails. Then c is as it was;
// otherwise it is closed.
func (c *lazyConn) takeOver(add func(fd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	switch {
	case c.file != nil:
		err = takeDuplicate(c.file, add)
	case c.fd >= 0:
		err = add(c.fd)
	default:
		err = net.ErrClosed
	}
	if err == nil {
		c.fd, c.file = -1, nil
	}
	return err
}

// RemoteAddr implements net.Conn.
func (c *lazyConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// LocalAddr implements net.Conn.
func (c *lazyConn) LocalAddr() net.Addr {
	var local syscall.Sockaddr
	if err := c.control(func(fd int) (err error) {
		local, err = syscall.Getsockname(fd)
		return err //nolint:wrapcheck // It is not looked at.
	}); err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(addrPort(local))
}

// SetDeadline implements net.Conn.
func (c *lazyConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline implements net.Conn.
func (c *lazyConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline implements net.Conn.
func (c *lazyConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

// setDeadlines keeps t for when something has to wait. What does not wait can't
// be late, unless it is so from the start: that is left to file.
func (c *lazyConn) setDeadlines(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if read {
		c.readDeadline = t
	}
	if write {
		c.writeDeadline = t
	}
	var err error
	switch {
	case c.fd < 0 && c.file == nil:
		err = net.ErrClosed
	case c.file != nil:
		err = c.passDeadlinesLocked()
	case !t.IsZero() && !t.After(time.Now()):
		_, err = c.parkLocked()
	}
	if err != nil {
		return c.opError("set", err)
	}
	return nil
}

// passDeadlinesLocked tells file of the deadlines.
func (c *lazyConn) passDeadlinesLocked() error {
	return errors.Join(c.file.SetReadDeadline(c.readDeadline), c.file.SetWriteDeadline(c.writeDeadline))
}
