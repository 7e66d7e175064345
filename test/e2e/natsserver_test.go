package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/test/harness"
)

// natsStart bounds the start of a NATS server.
const natsStart = 10 * time.Second

// natsServer is an external NATS that a test can take away and bring back.
type natsServer struct {
	port int
	dir  string // of what it stores
	// storeless makes the next start one without JetStream.
	storeless bool
	srv       *server.Server
}

// startNATS runs a NATS server on loopback until the test ends.
func startNATS(ctx context.Context, t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{port: server.RANDOM_PORT, dir: t.TempDir()}
	s.start(ctx, t)
	t.Cleanup(s.stop)
	return s
}

// start runs the server, at its port of the last time if there was one.
func (s *natsServer) start(ctx context.Context, t *testing.T) {
	t.Helper()
	err := harness.Eventually(ctx, func(context.Context) error {
		srv, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: s.port, NoLog: true, NoSigs: true, MaxPayload: 8 << 20,
			JetStream: !s.storeless, StoreDir: s.dir, JetStreamMaxStore: 4 << 30,
		})
		if err != nil {
			return harness.Permanent(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(natsStart) {
			srv.Shutdown()
			srv.WaitForShutdown()
			return errors.New("NATS does not start") // its port may still be in use
		}
		s.srv = srv
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	addr, ok := s.srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("NATS listens at %v", s.srv.Addr())
	}
	s.port = addr.Port
}

func (s *natsServer) stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.port) }

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
	nc, err := nats.Connect(s.url(), nats.Name(watcher))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := &wire{srv: s.srv, subjects: make(map[string]int)}
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
