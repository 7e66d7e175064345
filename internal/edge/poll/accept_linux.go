package poll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen returns a listener that accepts from ln, which it owns from then on.
// Connections of TCP come as this package can take them over with the fewest
// system calls: see lazyConn. Others come as ln gives them.
func Listen(ln net.Listener) (net.Listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return ln, nil
	}
	// A net.TCPListener lets nobody else accept, but a file does: it gets a
	// duplicate of the descriptor.
	file, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("duplicate listener: %w", err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raw listener: %w", err), file.Close())
	}
	l := &listener{file: file, raw: raw, addr: tcp.Addr()}
	var fail error
	err = raw.Control(func(fd uintptr) { fail = setOptions(int(fd)) })
	if err = errors.Join(err, fail, tcp.Close()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// setOptions sets what every connection has. Those that reach a listener after
// it was set there have it from the start.
func setOptions(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set no delay: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, kernelQueue); err != nil {
		return fmt.Errorf("set send buffer: %w", err)
	}
	return nil
}

// listener accepts lazyConns.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
	// inherited says that the queue was empty once since the options were set: all
	// that comes has them. It belongs to who accepts.
	inherited bool
}

// Accept implements net.Listener. One goroutine may call it. The errors are
// those of accept(2), and net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	var (
		fd   int
		peer syscall.Sockaddr
		fail error
	)
	err := l.raw.Read(func(from uintptr) bool {
		fd, peer, fail = accept(int(from))
		if errors.Is(fail, unix.EAGAIN) {
			l.inherited = true
			return false
		}
		return true
	})
	if err != nil { // it has no deadline: it was closed
		return nil, net.ErrClosed
	}
	if fail != nil {
		return nil, fmt.Errorf("accept: %w", fail)
	}
	if !l.inherited {
		// It fails for a socket that has ended, which its reader will learn.
		_ = setOptions(fd)
	}
	return &lazyConn{fd: fd, remote: addrPort(peer)}, nil
}

// Close implements net.Listener.
func (l *listener) Close() error { return l.file.Close() } //nolint:wrapcheck // As that of any listener.

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// accept takes a connection that is there and has not been given up. The accept
// of package unix asks each one for its protocol too.
func accept(from int) (fd int, peer syscall.Sockaddr, err error) {
	for {
		fd, peer, err = syscall.Accept4(from, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED) {
			return fd, peer, err //nolint:wrapcheck // The caller wraps it.
		}
	}
}

// addrPort returns the zero AddrPort for what is no address of IP.
func addrPort(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) //nolint:gosec // A port.
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)) //nolint:gosec // A port.
	default:
		return netip.AddrPort{}
	}
}
