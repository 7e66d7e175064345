package main

import (
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/aegisx/pushd/internal/control"
)

// A build that stops after its last part leaves nothing: no goroutine, as
// goleak finds, and nothing that would serve.
func TestAbandon(t *testing.T) {
	c, err := readConfig(t, nil, "--dev", "--data-dir", noDataDir,
		"--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{config: c, log: slog.New(slog.DiscardHandler)}
	if n.listeners, err = listen(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := n.buildCluster(t.Context(), newRegistry(buildInfo{})); err != nil {
		t.Fatal(err)
	}
	if n.control, err = control.NewServer(control.Options{}, n.router); err != nil {
		t.Fatal(err)
	}
	n.abandon()
	if _, err := n.listeners.grpc.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close() // A server that lives would tell of it.
	if err := n.control.Serve(ln); err != nil {
		t.Errorf("the Control API was not shut down: %v", err)
	}
	if n.router.Ready() {
		t.Error("the cluster was not left")
	}
}
