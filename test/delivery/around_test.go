package delivery_test

import (
	"context"
	"os"
	"testing"

	"github.com/aegisx/pushd/test/harness"
)

// startAround runs three nodes that meet at an external NATS, which keeps the
// history, until the test ends.
func startAround(ctx context.Context, t *testing.T, binary string, args ...string) []*member {
	t.Helper()
	nats := &harness.NATS{Dir: t.TempDir()}
	if err := nats.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Stop)
	var nodes []*member
	for _, name := range []string{"a", "b", "c"} {
		dir, err := os.MkdirTemp(suite.dir, "node-")
		if err != nil {
			t.Fatal(err)
		}
		m := &member{binary: binary, dir: dir, name: name, args: append([]string{
			"--jwt-secret-file", suite.secretFile, "--nats-url", nats.URL(),
		}, args...)}
		if err := m.start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Stop(); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, m)
	}
	return nodes
}
