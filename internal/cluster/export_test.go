package cluster

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// NATS returns the connection of the node, for tests of what NATS does under
// this package.
func (r *Router) NATS() *nats.Conn { return r.conn.nc }

// RestartServer restarts the embedded server.
func (r *Router) RestartServer(ctx context.Context) error { return r.srv.restart(ctx) }

// MendAfter makes the node restart its server sooner.
func (r *Router) MendAfter(after, pause time.Duration) {
	m := r.history.mender
	m.mu.Lock()
	defer m.mu.Unlock()
	m.after, m.pause = after, pause
}
