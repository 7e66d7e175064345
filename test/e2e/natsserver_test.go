package e2e_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/test/harness"
)

// natsServer is an external NATS that a test can take away and bring back.
type natsServer struct{ harness.NATS }

// startNATS runs a NATS server on loopback until the test ends.
func startNATS(ctx context.Context, t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{harness.NATS{Dir: t.TempDir()}}
	s.start(ctx, t)
	t.Cleanup(s.Stop)
	return s
}

// start runs the server, at its port of the last time if there was one.
func (s *natsServer) start(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// watcher is the name of the stranger's connection.
const watcher = "watcher"

// wire is what a stranger with access to NATS sees.
type wire struct {
	srv *server.Server

	mu       sync.Mutex
	subjects map[string]int
}

// watch records the subject of every message until the test ends.
func (s *natsServer) watch(t *testing.T) *wire {
	t.Helper()
	nc, err := nats.Connect(s.URL(), nats.Name(watcher))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := &wire{srv: s.Server, subjects: make(map[string]int)}
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.subjects[m.Subject]++
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// seen returns the subjects of all messages so far, sorted.
func (w *wire) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for s := range w.subjects {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// subscribed returns the subjects that others subscribe to.
func (w *wire) subscribed(t *testing.T) []string {
	t.Helper()
	answer, err := w.srv.Connz(&server.ConnzOptions{Subscriptions: true})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range answer.Conns {
		if c.Name != watcher {
			all = append(all, c.Subs...)
		}
	}
	return all
}
