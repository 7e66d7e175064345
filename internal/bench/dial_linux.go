package bench

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// dial begins to connect a new socket. After an error fd is -1.
func dial(c Client) (fd int, connected bool, err error) {
	family := unix.AF_INET
	if !c.Addr.Addr().Is4() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false, fmt.Errorf("make socket: %w", err)
	}
	if err = prepare(fd, c); err == nil {
		err = unix.Connect(fd, sockaddr(c.Addr.Addr(), c.Addr.Port()))
	}
	if errors.Is(err, unix.EINPROGRESS) {
		return fd, false, nil
	}
	if err != nil {
		return -1, false, errors.Join(err, unix.Close(fd))
	}
	return fd, true, nil
}

// prepare sets the options of a new socket.
func prepare(fd int, c Client) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set no delay: %w", err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("set linger: %w", err)
	}
	if !c.Source.IsValid() {
		return nil
	}
	// The port is chosen when the other end is known, so that one port can
	// serve for several.
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("bind to %s: %w", c.Source, err)
	}
	if err := unix.Bind(fd, sockaddr(c.Source, 0)); err != nil {
		return fmt.Errorf("bind to %s: %w", c.Source, err)
	}
	return nil
}

func sockaddr(ip netip.Addr, port uint16) unix.Sockaddr {
	if ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: ip.As16(), Port: int(port)}
}
