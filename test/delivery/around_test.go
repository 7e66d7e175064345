package delivery_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startAround runs three nodes that meet at an external NATS, which keeps the
// history, until the test ends.
func startAround(ctx context.Context, t *testing.T, binary string, args ...string) []*member {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: 8 << 20,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 4 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("NATS listens at %v", srv.Addr())
	}
	var nodes []*member
	for _, name := range []string{"a", "b", "c"} {
		dir, err := os.MkdirTemp(suite.dir, "node-")
		if err != nil {
			t.Fatal(err)
		}
		m := &member{binary: binary, dir: dir, name: name, args: append([]string{
			"--jwt-secret-file", suite.secretFile, "--nats-url", fmt.Sprintf("nats://127.0.0.1:%d", addr.Port),
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
