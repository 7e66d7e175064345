package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

// testSecret is long enough for every algorithm.
var testSecret = strings.Repeat("s3cret-", 10)

// variables is an environment for one test.
type variables map[string]string

func (v variables) lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// result is what one command line did.
type result struct {
	code     int
	out, err string
}

// runCommand executes a command line that ends by itself.
func runCommand(t *testing.T, stdin string, env variables, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := execute(t.Context(), args, env.lookup, strings.NewReader(stdin), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}
