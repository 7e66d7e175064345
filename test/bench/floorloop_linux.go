package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ordersAtOnce bounds the orders of one read, as in floor.c.
const ordersAtOnce = 1024

// goFloor is floor.c in Go: args, input and output are the same.
type goFloor struct {
	fds     []int
	frames  []byte // merge frames
	frame   int    // the size of one
	stamp   int    // where its stamp stands
	merge   int
	orders  []byte
	waiting int // bytes of orders that are not carried out
}

// floorLoop runs the loop until its input ends.
func floorLoop(args []string, in io.Reader, out io.Writer) error {
	var numbers [4]int
	if len(args) != len(numbers) {
		return errors.New("wants CONNECTIONS FRAME STAMP MERGE")
	}
	for i, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		numbers[i] = n
	}
	f := &goFloor{
		fds: make([]int, numbers[0]), frame: numbers[1], stamp: numbers[2], merge: numbers[3],
		frames: make([]byte, numbers[1]*numbers[3]), orders: make([]byte, ordersAtOnce*orderSize),
	}
	if err := f.accept(in, out); err != nil {
		return err
	}
	for {
		n, err := in.Read(f.orders[f.waiting:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read orders: %w", err)
		}
		f.waiting += n
		if err := f.carryOut(); err != nil {
			return err
		}
	}
}

// accept takes the frame and the connections.
func (f *goFloor) accept(in io.Reader, out io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A program of its own, ended by its input.
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = ln.Close() }()
	if _, err := fmt.Fprintln(out, ln.Addr().(*net.TCPAddr).Port); err != nil { //nolint:forcetypeassert // A TCP listener.
		return fmt.Errorf("print the port: %w", err)
	}
	if _, err := io.ReadFull(in, f.frames[:f.frame]); err != nil {
		return fmt.Errorf("read the frame: %w", err)
	}
	for i := f.frame; i < len(f.frames); i += f.frame {
		copy(f.frames[i:], f.frames[:f.frame])
	}
	for i := range f.fds {
		conn, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if f.fds[i], err = detach(conn); err != nil {
			return err
		}
		if err := writeAll(f.fds[i], []byte("\x81\x10{\"type\":\"ready\"}")); err != nil {
			return err
		}
	}
	return nil
}

// detach returns the descriptor of conn, unknown to Go's poller.
func detach(conn net.Conn) (int, error) {
	raw, err := conn.(*net.TCPConn).SyscallConn() //nolint:forcetypeassert // From a TCP listener.
	if err != nil {
		return 0, fmt.Errorf("raw connection: %w", err)
	}
	var (
		dup  int
		fail error
	)
	err = raw.Control(func(fd uintptr) { dup, fail = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, fail, conn.Close()); err != nil {
		return 0, fmt.Errorf("detach connection: %w", err)
	}
	return dup, nil
}

// carryOut does what the orders ask for that have come whole.
func (f *goFloor) carryOut() error {
	at := 0
	left := func() bool { return f.waiting-at >= orderSize }
	target := func() uint32 { return binary.LittleEndian.Uint32(f.orders[at:]) }
	for left() {
		to := target()
		count := 0
		for ok := true; ok; ok = to == everybody && count < f.merge && left() && target() == everybody {
			copy(f.frames[f.frame*count+f.stamp:], f.orders[at+4:at+orderSize])
			at += orderSize
			count++
		}
		fds := f.fds
		if to != everybody {
			fds = fds[int(to)%len(fds):][:1]
		}
		for _, fd := range fds {
			if err := writeAll(fd, f.frames[:f.frame*count]); err != nil {
				return err
			}
		}
	}
	f.waiting = copy(f.orders, f.orders[at:f.waiting])
	return nil
}

// writeAll writes to a non-blocking socket by the cheapest call there is, and
// waits when it is full.
func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // As syscall.Write does it.
		switch {
		case errno == 0:
			p = p[n:]
		case errors.Is(errno, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}} //nolint:gosec // A descriptor is small.
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("wait for a socket: %w", err)
			}
		case !errors.Is(errno, unix.EINTR):
			return fmt.Errorf("write: %w", errno)
		}
	}
	return nil
}
