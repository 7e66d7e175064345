package harness

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// leakPatience bounds the wait for goroutines that are about to end. goleak itself
// waits for less than half a second, in which a busy machine may not run them.
const leakPatience = 30 * time.Second

// Leaks returns an error that tells of the goroutines that don't end.
func Leaks() error {
	for deadline := time.Now().Add(leakPatience); ; {
		err := goleak.Find()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("leaks: %w", err)
		}
	}
}

// RunMain runs the tests of m, a *testing.M, looks for leaks if they have passed,
// and returns the exit code.
func RunMain(m interface{ Run() int }) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := Leaks(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
