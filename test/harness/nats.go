package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsStart bounds one attempt to start a NATS server.
const natsStart = time.Minute

// NATS is an external NATS server on loopback that can be taken away and brought
// back. Not safe for concurrent use.
type NATS struct {
	// Dir is where it stores.
	Dir string
	// Storeless makes the next start one without JetStream.
	Storeless bool
	// Server is the one that runs, nil before the first start.
	Server *server.Server

	port int // 0: not started yet
}

// Start runs the server, at its port of the last time if there was one, and
// returns when it takes connections. The caller stops it.
func (n *NATS) Start(ctx context.Context) error {
	port := n.port
	if port == 0 {
		var err error
		if port, err = FreePort(ctx); err != nil { // It is used again.
			return fmt.Errorf("start NATS: %w", err)
		}
	}
	err := Eventually(ctx, func(context.Context) error {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, MaxPayload: 8 << 20,
			JetStream: !n.Storeless, StoreDir: n.Dir, JetStreamMaxStore: 4 << 30,
		})
		if err != nil {
			return Permanent(err)
		}
		s.Start()
		if !s.ReadyForConnections(natsStart) {
			s.Shutdown()
			s.WaitForShutdown()
			return errors.New("NATS does not start") // its port may still be in use
		}
		n.Server = s
		return nil
	})
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	addr, ok := n.Server.Addr().(*net.TCPAddr)
	if !ok {
		n.Stop()
		return fmt.Errorf("start NATS: it listens at %v", n.Server.Addr())
	}
	n.port = addr.Port
	return nil
}

// Stop ends the server and waits for it. A second time, or before the first
// start, it does nothing.
func (n *NATS) Stop() {
	if n.Server == nil {
		return
	}
	n.Server.Shutdown()
	n.Server.WaitForShutdown()
}

// URL is where clients connect, the same after each start.
func (n *NATS) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }
