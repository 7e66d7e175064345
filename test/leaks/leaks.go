// Package leaks looks for goroutines that a package's tests have left behind. It
// is apart from harness, so that tests of one package don't link all of NATS and
// gRPC for it.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds the wait for goroutines that are about to end. goleak itself
// waits for less than half a second, in which a busy machine may not run them.
const patience = 30 * time.Second

// Find returns an error that tells of the goroutines that don't end.
func Find() error {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("goroutines are left: %w", err)
		}
	}
}

// Main runs the tests of m, looks for leaks if they have passed, and returns the
// exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Find(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
