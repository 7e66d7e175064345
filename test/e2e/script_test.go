package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/harness"
)

const (
	// scriptGrace is how long a script may take to end its browser when it is
	// told to.
	scriptGrace = 30 * time.Second
	// maxEvent bounds one event of a script, in bytes.
	maxEvent = 1 << 20
)

// event is one line of a script under test/node.
type event struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

// findNode returns node, if it and the packages of test/node are installed.
func findNode() (string, error) {
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(suite.root, "test", "node", "node_modules", "ws"))
	}
	if err != nil {
		return "", fmt.Errorf(`node and "npm ci --prefix test/node" are needed: %w`, err)
	}
	return node, nil
}

// findChromium returns Chromium, or a relative of it.
func findChromium() (string, error) {
	if path := os.Getenv("PUSHD_CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed")
}

// requireNode returns node, and skips the test without it; test/run.sh says
// when it must be there.
func requireNode(t *testing.T) string {
	t.Helper()
	node, err := findNode()
	if err != nil && mayMiss(t, "PUSHD_REQUIRE_NODE", err) {
		t.SkipNow()
	}
	return node
}

// requireBrowser returns node and Chromium.
func requireBrowser(t *testing.T) (node, chromium string) {
	t.Helper()
	node = requireNode(t)
	chromium, err := findChromium()
	if err != nil && mayMiss(t, "PUSHD_REQUIRE_BROWSER", err) {
		t.SkipNow()
	}
	return node, chromium
}

// mayMiss ends the test when the variable says that nothing may be missing, and
// reports true after it has said what is.
func mayMiss(t *testing.T, required string, err error) bool {
	t.Helper()
	if os.Getenv(required) != "" {
		t.Fatal(err)
	}
	t.Logf("!!! NOT TESTED HERE: %v; \"make test\" installs what it can", err)
	return true
}

// script is a program under test/node.
type script struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	waited bool
}

// startScript runs a program of test/node with options as its argument. It is
// ended with the test.
func startScript(ctx context.Context, t *testing.T, node, name string, options map[string]string) *script {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &script{cmd: exec.CommandContext(ctx, node, name, string(text))}
	s.cmd.Dir = filepath.Join(suite.root, "test", "node")
	// Profile, caches and sockets of a browser go away with the test.
	home := t.TempDir()
	s.cmd.Env = append(harness.Environment(), "HOME="+home, "TMPDIR="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	s.cmd.Stderr = &s.stderr
	// Playwright ends its browser at this signal.
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = scriptGrace
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s.lines = bufio.NewScanner(out)
	s.lines.Buffer(nil, maxEvent)
	t.Cleanup(func() {
		cancel()
		if !s.waited {
			_ = s.cmd.Wait() // The test has failed before.
		}
	})
	return s
}

// expect reads the next event, which must be of this kind, and its data.
func (s *script) expect(t *testing.T, kind string, data any) {
	t.Helper()
	if !s.lines.Scan() {
		s.waited = true
		err := s.cmd.Wait()
		t.Fatalf("waiting for %s: the script ended: %v, %v\n%s", kind, s.lines.Err(), err, s.stderr.String())
	}
	var e event
	err := json.Unmarshal(s.lines.Bytes(), &e)
	if err == nil && e.Event != kind {
		err = fmt.Errorf("not the event %s", kind)
	}
	if err == nil {
		err = json.Unmarshal(e.Data, data)
	}
	if err != nil {
		t.Fatalf("%s: %v", s.lines.Text(), err)
	}
}

// finish waits for the end of the script, which must be a good one.
func (s *script) finish(t *testing.T) {
	t.Helper()
	if s.lines.Scan() {
		t.Errorf("one event too many: %s", s.lines.Text())
	}
	s.waited = true
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("script: %v\n%s", err, s.stderr.String())
	}
}
