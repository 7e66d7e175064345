package stress_test

import (
	"context"
	"os"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// patience bounds what should happen soon, on a busy machine.
const patience = 2 * time.Minute

// bounded returns a context that ends with the test, or after limit.
func bounded(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// inLong returns what the long run wants or what the short one does.
func inLong[T any](long, short T) T {
	if suite.long {
		return long
	}
	return short
}

// besides lets a short test run beside others. The long ones measure, alone.
func besides(t *testing.T) {
	t.Helper()
	if !suite.long {
		t.Parallel()
	}
}

// startNode runs a node with the secret of the suite until the test ends.
func startNode(ctx context.Context, t *testing.T, args ...string) *harness.Node {
	t.Helper()
	return startBehind(ctx, t, nil, args...)
}

// startBehind is startNode by a launcher.
func startBehind(ctx context.Context, t *testing.T, launcher []string, args ...string) *harness.Node {
	t.Helper()
	dir, err := os.MkdirTemp(suite.dir, "node-")
	if err != nil {
		t.Fatal(err)
	}
	n, err := harness.StartBehind(ctx, launcher, suite.binary, dir, "solo", append([]string{"--jwt-secret-file", suite.secretFile}, args...)...)
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

// control returns a client of the node's Control API.
func control(t *testing.T, n *harness.Node) pushdv1.ControlServiceClient {
	t.Helper()
	api, conn, err := harness.Control(n.GRPC)
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

// sign makes a token for a user of a tenant.
func sign(t *testing.T, tenant, user string) string {
	t.Helper()
	token, err := harness.Sign(secret, map[string]any{"tenantId": tenant, "userId": user})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// metric returns a sum of samples; see harness.Node.Metric.
func metric(ctx context.Context, t *testing.T, n *harness.Node, name, label string) int {
	t.Helper()
	v, err := n.Metric(ctx, name, label)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}
