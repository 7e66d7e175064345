package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pacer waits by a timer of the kernel: Go's poller may wake a millisecond
// late for a timer of its own, which would be measured as the server's delay.
// One goroutine waits at a time.
type pacer struct {
	file *os.File
	fd   int
	buf  [8]byte
}

func newPacer() (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	return &pacer{file: os.NewFile(uintptr(fd), "timer"), fd: fd}, nil
}

// wait waits for d. close cuts it short, which is an error.
func (p *pacer) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(p.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if _, err := p.file.Read(p.buf[:]); err != nil {
		return fmt.Errorf("wait for timer: %w", err)
	}
	return nil
}

func (p *pacer) close() { _ = p.file.Close() }
