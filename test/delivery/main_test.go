package delivery_test

import (
	"errors"
	"os"
	"testing"

	"github.com/aegisx/pushd/test/harness"
	"github.com/aegisx/pushd/test/leaks"
)

// secret signs client tokens in all tests.
const secret = "a secret of the delivery tests, which is long enough"

// suite is what all tests share. TestMain sets it.
var suite struct {
	dir    string // gone after the run
	root   string // of the module
	binary string // pushd
	// secretFile holds secret.
	secretFile string
	// flag is how pushd is built.
	flag string
	// long says that everything runs in full.
	long bool
}

func TestMain(m *testing.M) {
	os.Exit(harness.RunSuite(m, "delivery", setUp, func() error {
		return errors.Join(harness.CheckOutputs(suite.dir, harness.CheckIntact), leaks.Find())
	}))
}

func setUp(dir string) (err error) {
	suite.dir, suite.long = dir, os.Getenv("PUSHD_STRESS") == "long"
	if suite.root, err = harness.Root(); err != nil {
		return err
	}
	suite.flag = "-race"
	if suite.long {
		suite.flag = "-trimpath"
	}
	suite.binary, suite.secretFile, err = harness.Prepare(suite.root, dir, secret, suite.flag)
	return err
}
