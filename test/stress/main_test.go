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
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/aegisx/pushd/test/harness"
	"github.com/aegisx/pushd/test/leaks"
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
	if runtime.GOOS != "linux" && !harness.Listing() {
		_, _ = fmt.Fprintln(os.Stderr, "stress tests are skipped: they look at processes through Linux's /proc")
		return
	}
	os.Exit(harness.RunSuite(m, "stress", setUp, func() error {
		return errors.Join(harness.CheckOutputs(suite.dir, harness.CheckIntact), leaks.Find())
	}))
}

func setUp(dir string) error {
	suite.dir, suite.long = dir, os.Getenv("PUSHD_STRESS") == "long"
	root, err := harness.Root()
	if err != nil {
		return err
	}
	flag := "-race"
	if suite.long {
		flag = "-trimpath"
	}
	suite.binary, suite.secretFile, err = harness.Prepare(root, dir, secret, flag)
	return err
}
