package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// pollEvery is how often a state is asked that nothing announces.
	pollEvery = 10 * time.Millisecond
	// stopAfter is how long Stop waits for an orderly end.
	stopAfter = time.Minute
)

// Address is what a ready file says: where a node listens.
type Address struct {
	HTTP    string `json:"http"`
	GRPC    string `json:"grpc"`
	Metrics string `json:"metrics"`
	Cluster string `json:"cluster"`
	Name    string `json:"node"`
	PID     int    `json:"pid"`
}

// Node is a running pushd process.
type Node struct {
	Address
	// Stdout and Stderr are the files that hold what the process wrote.
	Stdout, Stderr string

	cmd *exec.Cmd
	// done is closed when the process has ended; err is set then.
	done chan struct{}
	err  error
}

// Start runs "pushd serve" with args, on free loopback ports, and waits until
// it is ready. Its output, its ready file and its history are kept in dir, under
// name.
func Start(ctx context.Context, binary, dir, name string, args ...string) (*Node, error) {
	return StartBehind(ctx, nil, binary, dir, name, args...)
}

// StartBehind is Start by a launcher: a command that becomes the one that
// follows it as arguments.
func StartBehind(ctx context.Context, launcher []string, binary, dir, name string, args ...string) (*Node, error) {
	ready := filepath.Join(dir, name+".ready")
	command := slices.Concat(launcher, []string{
		binary, "serve", "--node-name", name, "--ready-file", ready, "--http-addr", "127.0.0.1:0",
		"--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0",
		"--data-dir", filepath.Join(dir, name+".data"),
	}, args)
	n, err := StartCommand(exec.Command(command[0], command[1:]...), dir, name) //nolint:gosec,noctx // The harness built the binary; Stop ends the process.
	if err != nil {
		return nil, err
	}
	if err := n.awaitReady(ctx, ready); err != nil {
		return nil, errors.Join(err, n.Kill())
	}
	return n, nil
}

// StartCommand runs a command that becomes a node; the caller waits for it to
// be ready. Of its address the PID is known at once, the rest by the ready file
// alone. Output goes to files in dir, under name. PUSHD_ variables of this
// process are not passed on.
func StartCommand(cmd *exec.Cmd, dir, name string) (*Node, error) {
	n := &Node{
		Stdout: filepath.Join(dir, name+".stdout"), Stderr: filepath.Join(dir, name+".stderr"),
		cmd: cmd, done: make(chan struct{}),
	}
	out, err := os.Create(n.Stdout)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", name, err)
	}
	defer func() { _ = out.Close() }() // The process has its own.
	errOut, err := os.Create(n.Stderr)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", name, err)
	}
	defer func() { _ = errOut.Close() }()
	cmd.Stdout, cmd.Stderr = out, errOut
	if cmd.Env == nil {
		cmd.Env = Environment()
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	n.PID = cmd.Process.Pid
	// Ends with the process, which Stop or Kill end and wait for.
	go func() {
		n.err = cmd.Wait()
		close(n.done)
	}()
	return n, nil
}

// Environment returns the environment without the settings of pushd.
func Environment() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PUSHD_") })
}

func (n *Node) awaitReady(ctx context.Context, path string) error {
	err := Eventually(ctx, func(context.Context) error {
		select {
		case <-n.done:
			return Permanent(fmt.Errorf("process ended: %w", n.err))
		default:
		}
		a, err := ReadAddress(path)
		if err != nil {
			return err
		}
		n.Address = a
		return nil
	})
	if err != nil {
		return fmt.Errorf("node is not ready: %w\n%s", err, n.Log())
	}
	return nil
}

// ReadAddress reads a ready file.
func ReadAddress(path string) (Address, error) {
	text, err := os.ReadFile(path) //nolint:gosec // The harness chose the path.
	if err != nil {
		return Address{}, fmt.Errorf("ready file: %w", err)
	}
	var a Address
	if err := json.Unmarshal(text, &a); err != nil {
		return Address{}, fmt.Errorf("ready file: %w", err)
	}
	return a, nil
}

// WebSocket returns the URL of the client endpoint.
func (n *Node) WebSocket() string { return "ws://" + n.HTTP + "/ws" }

// Log returns what the process wrote so far, for error messages.
func (n *Node) Log() string {
	var all strings.Builder
	for _, path := range []string{n.Stdout, n.Stderr} {
		text, err := os.ReadFile(path) //nolint:gosec // The harness chose the path.
		if err != nil {
			all.WriteString(err.Error())
		}
		all.Write(text)
	}
	return all.String()
}

// Signal sends a signal to the process.
func (n *Node) Signal(sig syscall.Signal) error {
	if err := n.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s to %s: %w", sig, n.Name, err)
	}
	return nil
}

// Wait waits until the process has ended and returns its exit code.
func (n *Node) Wait(ctx context.Context) (int, error) {
	select {
	case <-n.done:
		return n.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of %s: %w\n%s", n.Name, ctx.Err(), n.Log())
	}
}

// Kill ends the process at once and waits for it. It does nothing when the
// process has ended.
func (n *Node) Kill() error {
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	<-n.done
	return nil
}

// Stop asks the process to end and waits; a second signal hurries it, so that
// no drain has to be waited for. A process that still does not end is killed,
// which is an error, as is a bad exit code. Stop does nothing when the process
// has ended before.
func (n *Node) Stop() error {
	select {
	case <-n.done:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopAfter)
	defer cancel()
	for range 2 {
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", n.Name, err)
		}
	}
	code, err := n.Wait(ctx)
	if err != nil {
		return errors.Join(err, n.Kill())
	}
	if code != 0 {
		return fmt.Errorf("stop %s: exit code %d\n%s", n.Name, code, n.Log())
	}
	return nil
}

// readAll reads r to its end, at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return text, nil
}
