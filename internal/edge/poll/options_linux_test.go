package poll_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aegisx/pushd/internal/edge/poll"
)

// TestAcceptedOptions: every connection has them, also one that was there before
// the listener was asked for any.
func TestAcceptedOptions(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	early, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	ln, err := poll.Listen(tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	first, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	checkOptions(t, "there before", first)
	waited := make(chan net.Conn, 1)
	go func() { // finds nothing at first, or something at once
		nc, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		waited <- nc
	}()
	late, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	checkOptions(t, "waited for", receive(t, waited, "connection"))
	for range 2 {
		server, _ := connect(t, ln)
		checkOptions(t, "later", server)
	}
}

// checkOptions looks at the options of nc and closes it.
func checkOptions(t *testing.T, which string, nc net.Conn) {
	t.Helper()
	defer nc.Close()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		noDelay, err1 := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
		buffer, err2 := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		flags, err3 := unix.FcntlInt(fd, unix.F_GETFD, 0)
		// The kernel doubles what it was asked for.
		if noDelay == 0 || buffer != 2*64<<10 || flags&unix.FD_CLOEXEC == 0 || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("%s: no delay %d, send buffer %d, flags %d, %v, %v, %v", which, noDelay, buffer, flags, err1, err2, err3)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
