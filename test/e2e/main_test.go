// Package e2e_test tests the pushd binary as its users meet it: over WebSocket
// from Go, Node and Chromium, over gRPC from Go and grpcurl, from a shell, and
// as several processes that form a cluster.
package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aegisx/pushd/test/harness"
	"github.com/aegisx/pushd/test/leaks"
)

// secret signs client tokens in all tests.
const secret = "a secret of the end-to-end tests, long enough"

// canary stands in claims of bad tokens; no log may repeat it.
const canary = "canary7491"

// suite is what all tests share. TestMain sets it, but for leaks.
var suite struct {
	root   string // of the module
	dir    string // gone after the run
	binary string // pushd, built with the race detector
	// secretFile holds secret.
	secretFile string
	secrets    secretTexts
}

func TestMain(m *testing.M) {
	os.Exit(harness.RunSuite(m, "end-to-end", setUp, func() error {
		return errors.Join(harness.CheckOutputs(suite.dir, checkOutput), leaks.Find())
	}))
}

func setUp(dir string) error {
	suite.dir = dir
	suite.secrets.add(secret)
	suite.secrets.add(canary)
	var err error
	if suite.root, err = harness.Root(); err != nil {
		return err
	}
	suite.binary, suite.secretFile, err = harness.Prepare(suite.root, dir, secret, "-race")
	return err
}

// secretTexts are texts that no node may write. Safe for concurrent use.
type secretTexts struct {
	mu  sync.Mutex
	all map[string]struct{}
}

// partLength is how long a part of a token must be to count: shorter ones may
// stand in a log by chance.
const partLength = 12

// add notes a text, and the parts of it if it is a token.
func (s *secretTexts) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]struct{})
	}
	if text == canary || len(text) >= partLength {
		s.all[text] = struct{}{}
	}
	for part := range strings.SplitSeq(text, ".") {
		if len(part) >= partLength {
			s.all[part] = struct{}{}
		}
	}
}

// find returns how many of the texts stand in output.
func (s *secretTexts) find(output string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := 0
	for text := range s.all {
		if strings.Contains(output, text) {
			found++
		}
	}
	return found
}

// checkOutput refuses output that holds secrets or tells of a broken program.
func checkOutput(output string) error {
	var errs []error
	if n := suite.secrets.find(output); n > 0 {
		errs = append(errs, fmt.Errorf("%d tokens or parts of tokens were logged", n))
	}
	// What every token begins with: the demo page makes some of its own.
	if strings.Contains(output, "eyJ") {
		errs = append(errs, errors.New("something like a token was logged"))
	}
	return errors.Join(append(errs, harness.CheckIntact(output))...)
}
