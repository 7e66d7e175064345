package cluster

import (
	"errors"
	"sync"
	"time"

	"github.com/aegisx/pushd/internal/message"
)

// probeEvery is how often a stream that does not work is tried.
const probeEvery = time.Second

// breaker remembers that a stream does not work, so that who publishes to it is
// told at once. One message a second goes on to find out.
type breaker struct {
	mu    sync.Mutex
	err   error // nil: it works
	probe time.Time
	// since and last are when it failed first and last, in this way.
	since, last time.Time
}

// allow returns nil for a message that may try, else why it would fail.
func (b *breaker) allow(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || now.Before(b.probe) {
		return b.err
	}
	b.probe = now.Add(probeEvery)
	return nil
}

// failed notes err and reports whether the stream had worked until now.
func (b *breaker) failed(err error, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.err == nil
	if b.err != err { //nolint:errorlint // The very value that was noted.
		b.since = now
	}
	b.err, b.last = err, now
	if first {
		b.probe = now.Add(probeEvery)
	}
	return first
}

// stuck returns for how long all that was tried has failed, for another reason
// than want of room.
func (b *breaker) stuck() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(b.err, message.ErrUnavailable) {
		return 0
	}
	return b.last.Sub(b.since)
}

// works notes that the stream works.
func (b *breaker) works() {
	b.mu.Lock()
	b.err = nil
	b.mu.Unlock()
}

// recovered closes a breaker that err opened.
func (b *breaker) recovered(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == err { //nolint:errorlint // The very value that was noted.
		b.err = nil
	}
}
