package harness

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// permanentError ends Eventually at once.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that waiting will not mend.
func Permanent(err error) error { return &permanentError{err} }

// Eventually calls try until it returns nil or a Permanent error, or until ctx
// ends. It is for states that nothing announces.
func Eventually(ctx context.Context, try func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		var permanent *permanentError
		if errors.As(err, &permanent) {
			return permanent.err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
