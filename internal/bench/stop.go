package bench

import (
	"context"
	"errors"
	"sync"
)

// ErrStopped is the error of a scenario that was stopped before anything was
// measured. Inside this package it is the cause of every context that Stop has
// ended; a scenario that has measured something then gives its result instead.
var ErrStopped = errors.New("stopped before anything was measured")

// until returns a context that ends with ctx, and when stop is closed; then its
// cause is ErrStopped. A nil stop never is. The caller calls release.
func until(ctx context.Context, stop <-chan struct{}) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	select {
	case <-stop: // so that what is stopped already does not begin
		cancel(ErrStopped)
	default:
	}
	var watcher sync.WaitGroup // ends with ctx
	watcher.Go(func() {
		select {
		case <-stop:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		watcher.Wait()
	}
}
