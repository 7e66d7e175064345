package edge

import (
	"errors"
	"syscall"
	"time"
)

// Bounds of the pause after a failed accept.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// acceptPause keeps a listener that can't accept (no file descriptors, say)
// from spinning.
type acceptPause struct{ next time.Duration }

func (p *acceptPause) reset() { p.next = 0 }

// wait pauses, twice as long as the last time, or until stop is closed.
func (p *acceptPause) wait(stop <-chan struct{}) {
	p.next = min(max(2*p.next, firstPause), maxPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

// isTemporary reports whether an accept may work again later: the peer gave
// up, or the system is short of something.
func isTemporary(err error) bool {
	for _, e := range []error{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
