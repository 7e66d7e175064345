package bench

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// showEvery is how often progress is shown.
const showEvery = 250 * time.Millisecond

// Progress says how far a scenario is.
type Progress struct {
	// What is counted, in the plural.
	What string
	// Done is how many there are; Total is how many there will be, 0 when that
	// is not known.
	Done, Total int64
	// Elapsed is the time that Done took.
	Elapsed time.Duration
	// Level says that Done does not grow, so that a rate would mean nothing.
	Level bool
}

// String returns one line without its end.
func (p Progress) String() string {
	if p.Level {
		return fmt.Sprintf("%d %s, %.1f s", p.Done, p.What, p.Elapsed.Seconds())
	}
	var perSecond float64
	if p.Elapsed > 0 {
		perSecond = float64(p.Done) / p.Elapsed.Seconds()
	}
	if p.Total > 0 {
		return fmt.Sprintf("%d of %d %s, %.0f/s, %.1f s", p.Done, p.Total, p.What, perSecond, p.Elapsed.Seconds())
	}
	return fmt.Sprintf("%d %s, %.0f/s, %.1f s", p.Done, p.What, perSecond, p.Elapsed.Seconds())
}

// watch calls show with what ask says, every now and then, until stop is
// called; then no call is under way any more. A nil show is never called.
func watch(show func(Progress), ask func() Progress) (stop func()) {
	if show == nil {
		return func() {}
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(showEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				show(ask())
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// Line shows progress on one line of a terminal, over and over. Not safe for
// concurrent use.
type Line struct {
	// W is the terminal.
	W io.Writer
	// Title stands before the progress.
	Title string
}

// Show replaces the line.
func (l *Line) Show(p Progress) {
	_, _ = fmt.Fprintf(l.W, "\r\x1b[K%s: %s", l.Title, p) // Who sees no progress still sees the result.
}

// Clear leaves an empty line.
func (l *Line) Clear() { _, _ = fmt.Fprint(l.W, "\r\x1b[K") }
