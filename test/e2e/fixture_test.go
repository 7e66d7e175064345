package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// patience bounds one test, on a busy machine.
const patience = 4 * time.Minute

// buildPatience bounds the compiling of one program.
const buildPatience = 5 * time.Minute

// claims of a client token.
type claims = map[string]any

// bounded returns a context that ends with the test, or with our patience.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// nodeDir makes a directory whose *.stdout and *.stderr are looked through at
// the end of the run.
func nodeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(suite.dir, "nodes-") //nolint:usetesting // It must outlive the test.
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// startNode runs a node with the secret of the suite until the test ends. Its
// log says as much as it can.
func startNode(ctx context.Context, t *testing.T, name string, args ...string) *harness.Node {
	t.Helper()
	return startBare(ctx, t, name, append([]string{"--jwt-secret-file", suite.secretFile}, args...)...)
}

// startBare is startNode without the secret.
func startBare(ctx context.Context, t *testing.T, name string, args ...string) *harness.Node {
	t.Helper()
	args = append([]string{"--log-level", "debug"}, args...)
	n, err := harness.Start(ctx, suite.binary, nodeDir(t), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// sign makes a token that must never be logged.
func sign(t *testing.T, c claims) string {
	t.Helper()
	token, err := harness.Sign(secret, c)
	if err != nil {
		t.Fatal(err)
	}
	suite.secrets.add(token)
	return token
}

// connect opens a connection for a user of a tenant, which ends with the test.
// An empty user is anonymous.
func connect(ctx context.Context, t *testing.T, n *harness.Node, tenant, user string) *harness.Socket {
	t.Helper()
	c := claims{"tenantId": tenant}
	if user != "" {
		c["userId"] = user
	}
	return connectAs(ctx, t, n, c)
}

func connectAs(ctx context.Context, t *testing.T, n *harness.Node, c claims) *harness.Socket {
	t.Helper()
	s, err := harness.Dial(ctx, n.WebSocket(), sign(t, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func join(ctx context.Context, t *testing.T, s *harness.Socket, channels ...string) {
	t.Helper()
	for _, channel := range channels {
		if err := s.Join(ctx, channel); err != nil {
			t.Fatal(err)
		}
	}
}

// control returns a client of the node's Control API.
func control(t *testing.T, n *harness.Node, options ...grpc.DialOption) pushdv1.ControlServiceClient {
	t.Helper()
	api, conn, err := harness.Control(n.GRPC, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return api
}

// pushd runs the binary to its end and returns its exit code and all that it
// wrote.
func pushd(ctx context.Context, t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, suite.binary, args...)
	cmd.Env = harness.Environment()
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// heard returns what came on s before the answer to a ping.
func heard(ctx context.Context, t *testing.T, s *harness.Socket) []harness.Message {
	t.Helper()
	if err := s.SendText(`{"type":"ping"}`); err != nil {
		t.Fatal(err)
	}
	var all []harness.Message
	for {
		m, err := s.Next(ctx)
		switch {
		case err != nil:
			t.Fatal(err)
		case m.Type == "pong":
			return all
		}
		all = append(all, m)
	}
}

// mark returns what tests put into a message to know it again: the field
// "mark" of its data, or of the message of a client in it.
func mark(m harness.Message) string {
	if m.Type != "channel_message" {
		return m.Field("mark")
	}
	var data struct{ Message json.RawMessage }
	if json.Unmarshal(m.Data, &data) != nil {
		return ""
	}
	return harness.Message{Data: data.Message}.Field("mark")
}

// awaitMarks reads from s until every mark of want has come, and then what
// came besides. Each must come once, and nothing else.
func awaitMarks(ctx context.Context, s *harness.Socket, want ...string) error {
	missing := make(map[string]bool)
	for _, w := range want {
		missing[w] = true
	}
	for len(missing) > 0 {
		m, err := s.Next(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %v: %w", slices.Sorted(maps.Keys(missing)), err)
		}
		if !missing[mark(m)] {
			return fmt.Errorf("waiting for %v: got %s", slices.Sorted(maps.Keys(missing)), m.Text)
		}
		delete(missing, mark(m))
	}
	return nil
}

// checkQuiet fails when anything is waiting on s.
func checkQuiet(ctx context.Context, t *testing.T, s *harness.Socket) {
	t.Helper()
	for _, m := range heard(ctx, t, s) {
		t.Errorf("got %s", m.Text)
	}
}

// payload is JSON that carries a mark.
func payload(mark string) string { return fmt.Sprintf(`{"mark":%q}`, mark) }

// awaitStats asks for fresh figures until check is content.
func awaitStats(ctx context.Context, t *testing.T, c pushdv1.ControlServiceClient, check func(*pushdv1.StatsResponse) error) {
	t.Helper()
	err := harness.Eventually(ctx, func(ctx context.Context) error {
		answer, err := c.Stats(ctx, &pushdv1.StatsRequest{Fresh: true})
		if err != nil {
			return err
		}
		if err := check(answer); err != nil {
			return fmt.Errorf("%w in %s", err, answer)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantNodes is satisfied when exactly these nodes answer.
func wantNodes(names ...string) func(*pushdv1.StatsResponse) error {
	return func(r *pushdv1.StatsResponse) error {
		var got []string
		for _, n := range r.GetNodes() {
			got = append(got, n.GetName())
		}
		if !slices.Equal(got, names) || !r.GetComplete() {
			return errors.New("not all nodes have met")
		}
		return nil
	}
}
