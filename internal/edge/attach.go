package edge

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/message"
)

// errConnectionLimit says that the user has all the connections it may have.
var errConnectionLimit = errors.New("too many connections of this user")

// attach gives an upgraded socket to its loop, which answers the upgrade. On an
// error nothing is registered and the caller still owns nc.
func (h *Hub) attach(nc net.Conn, up *handshake.Upgraded, p *auth.Principal) error {
	tenant, err := address.TenantTarget(p.Tenant)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	var user address.Target // zero: anonymous
	if !p.User.IsZero() {
		if user, err = address.UserTarget(p.Tenant, p.User); err != nil {
			return fmt.Errorf("attach: %w", err)
		}
	}
	l := h.loopFor(user)
	c := &conn{id: message.NewID(), principal: p, loop: l, dialect: up.Dialect}
	c.parser = frame.NewParser(&l.limits)
	if up.Deflate {
		c.parser = frame.NewParser(&l.deflateLimits)
		c.out.compressor = h.compressor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !user.IsZero() && l.shard.Count(user) >= h.opts.MaxConnectionsPerUser {
		return errConnectionLimit
	}
	if c.socket, err = l.driver.Attach(nc, up.Pipelined, c); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	c.out.push(frame.Raw(up.Answer))
	l.registerLocked(c, tenant, user)
	return nil
}

// registerLocked makes c a member of its tenant, its user unless that is zero,
// and everybody. The client is greeted once the interest in all of them is live,
// and nothing is read from it or sent to it before, but the answer to its upgrade:
// both go out in one write if the interest is live already.
func (l *loop) registerLocked(c *conn, tenant, user address.Target) {
	h := l.hub
	l.tell(time.Now())
	c.slot = l.slotLocked(c)
	c.lastRead = l.clock
	c.nextDue = l.clock + jitter(h.opts.PingInterval)
	c.scheduleLocked(c.nextLocked())
	h.connections.Add(1)
	h.metrics.opened.Inc()

	// One more than is asked for, so that no answer can finish before all
	// questions are put.
	waiting := 1
	var failed error
	ready := func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		failed = errors.Join(failed, err)
		waiting--
		if waiting == 0 {
			l.openLocked(c, failed)
			l.flushLocked()
		}
	}
	ask := func(t address.Target) {
		if !h.bus.Acquire(t, ready) {
			waiting++
		}
	}
	ask(address.AllTarget())
	ask(tenant)
	l.joinLocked(c, tenant)
	if !user.IsZero() {
		ask(user)
		l.joinLocked(c, user)
	}
	waiting--
	if waiting == 0 {
		l.openLocked(c, nil)
	}
	l.markDirty(c)
	l.flushLocked()
}

// openLocked greets the client and begins to read.
func (l *loop) openLocked(c *conn, failed error) {
	if c.state != stateOpening {
		return
	}
	if failed != nil {
		c.closeLocked(closeOverloaded, closeReason(closeOverloaded))
		c.socket.Start()
		return
	}
	c.state = stateOpen
	c.scheduleLocked(c.nextLocked())
	l.onOpen(c)
	c.socket.Start()
}

// greetLocked tells the client that it is connected. It asks for no room: nothing
// waits but the answer to the upgrade.
func (c *conn) greetLocked() {
	c.out.push(connectionFrame(c, time.Now()))
	c.loop.markDirty(c)
}
