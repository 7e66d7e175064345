package bench

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pacer waits by a timer of the kernel: Go's poller may wake a millisecond
// late for a timer of its own, which would be measured as the server's delay.
// One goroutine waits at a time.
type pacer struct {
	file *os.File
	raw  syscall.RawConn // of file; it is not used for what comes after close
	buf  [8]byte
}

func newPacer() (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	p := &pacer{file: os.NewFile(uintptr(fd), "timer")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("make timer: %w", err), p.file.Close())
	}
	return p, nil
}

// wait waits for d. close cuts it short, which is an error.
func (p *pacer) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	var err error
	closed := p.raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
	if err = errors.Join(closed, err); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if _, err := p.file.Read(p.buf[:]); err != nil {
		return fmt.Errorf("wait for timer: %w", err)
	}
	return nil
}

func (p *pacer) close() { _ = p.file.Close() }
