package edge

import "sync"

// calls are what goroutines that may not take a loop's mutex want done under it:
// answers to what connections asked for. They are bounded by what each connection
// may have asked for and got no answer to.
type calls struct {
	mu      sync.Mutex
	waiting []func()
}

// call has f done by the loop's goroutine, or whoever drains the inbox next, with
// mu held. It never blocks. What comes after Hub.Close is not done.
func (l *loop) call(f func()) {
	l.calls.mu.Lock()
	l.calls.waiting = append(l.calls.waiting, f)
	l.calls.mu.Unlock()
	l.wake()
}

// callLocked does what waits.
func (l *loop) callLocked() {
	l.calls.mu.Lock()
	waiting := l.calls.waiting
	l.calls.waiting = nil
	l.calls.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}
