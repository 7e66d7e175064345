// Package stress_test puts more on a real pushd than it should ever meet, and
// looks at what others notice of it and at what it costs: connections that come
// and go by the million, clients that stop reading, send nothing or send
// rubbish, and a process without descriptors.
//
// "go test" runs everything in small, against a binary with the race detector.
// With PUSHD_STRESS=long the same tests run in full, against the binary as it
// ships; see the targets churn, soak and faults of the Makefile.
package stress_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/aegisx/pushd/test/harness"
)

// secret signs client tokens in all tests.
const secret = "a secret of the stress tests, which is long enough"

// suite is what all tests share. TestMain sets it.
var suite struct {
	dir    string // gone after the run
	binary string // pushd
	// secretFile holds secret.
	secretFile string
	// long says that everything runs in full.
	long bool
}

func TestMain(m *testing.M) {
	flag.Parse()
	if list := flag.Lookup("test.list"); list != nil && list.Value.String() != "" {
		os.Exit(m.Run()) // nothing runs, so nothing is built
	}
	if runtime.GOOS != "linux" {
		_, _ = fmt.Fprintln(os.Stderr, "stress tests are skipped: they look at processes through Linux's /proc")
		return
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "pushd-stress-")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			code = fail(err)
		}
	}()
	suite.dir, suite.long = dir, os.Getenv("PUSHD_STRESS") == "long"
	if err := setUp(); err != nil {
		return fail(err)
	}
	code = m.Run()
	if err := errors.Join(checkOutputs(), goleak.Find()); err != nil {
		return fail(err)
	}
	return code
}

func setUp() error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	suite.secretFile = filepath.Join(suite.dir, "secret.txt")
	if err := os.WriteFile(suite.secretFile, []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	flags := []string{"-race"}
	if suite.long {
		flags = []string{"-trimpath"}
	}
	suite.binary, err = harness.Build(ctx, root, suite.dir, flags...)
	return err
}

func fail(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, "stress tests:", err)
	return 1
}
