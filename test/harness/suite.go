package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// buildPatience bounds the compiling of pushd.
const buildPatience = 5 * time.Minute

// Listing reports whether the tests are only listed, so that nothing need be
// built. It parses the flags.
func Listing() bool {
	flag.Parse()
	list := flag.Lookup("test.list")
	return list != nil && list.Value.String() != ""
}

// RunSuite runs the tests of m, a *testing.M, and returns the exit code. setUp
// comes first and may keep what the tests share in dir, which is removed at the
// end; check comes last.
func RunSuite(m interface{ Run() int }, name string, setUp func(dir string) error, check func() error) (code int) {
	if Listing() {
		return m.Run()
	}
	fail := func(err error) int {
		_, _ = fmt.Fprintf(os.Stderr, "%s tests: %v\n", name, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "pushd-test-")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			code = fail(err)
		}
	}()
	if err := setUp(dir); err != nil {
		return fail(err)
	}
	code = m.Run()
	if err := check(); err != nil {
		return fail(err)
	}
	return code
}

// Prepare writes a file with the secret into dir, and builds pushd there.
func Prepare(root, dir, secret string, buildFlags ...string) (binary, secretFile string, err error) {
	secretFile = filepath.Join(dir, "secret.txt")
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		return "", "", fmt.Errorf("secret: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	binary, err = Build(ctx, root, dir, buildFlags...)
	return binary, secretFile, err
}

// CheckOutputs calls check with all that each node wrote whose directory is in
// dir, and names the file of what it finds.
func CheckOutputs(dir string, check func(output string) error) error {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.std*"))
	if err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	var errs []error
	for _, path := range files {
		output, err := os.ReadFile(path) //nolint:gosec // The nodes of the tests wrote it.
		if err != nil {
			return fmt.Errorf("outputs: %w", err)
		}
		if err := check(string(output)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Base(path), err))
		}
	}
	return errors.Join(errs...)
}

// CheckIntact refuses output that tells of a broken program.
func CheckIntact(output string) error {
	var errs []error
	for _, broken := range []string{"DATA RACE", "panic: ", "fatal error: ", "goroutine 1 ["} {
		if strings.Contains(output, broken) {
			errs = append(errs, fmt.Errorf("%s:\n%s", broken, output))
		}
	}
	return errors.Join(errs...)
}
