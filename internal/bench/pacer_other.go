//go:build !linux

package bench

import (
	"errors"
	"sync"
	"time"
)

// pacer waits by Go's timers. One goroutine waits at a time.
type pacer struct {
	closed chan struct{}
	once   sync.Once
}

func newPacer() (*pacer, error) { return &pacer{closed: make(chan struct{})}, nil }

// wait waits for d. close cuts it short, which is an error.
func (p *pacer) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.closed:
		return errors.New("wait for timer: closed")
	}
}

func (p *pacer) close() { p.once.Do(func() { close(p.closed) }) }
