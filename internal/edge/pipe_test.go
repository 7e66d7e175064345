package edge

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/poll"
)

// newPipeHub makes a hub for a bubble of synctest, without a server. It ends
// with the test, after its clients.
func newPipeHub(t *testing.T, change func(*Options)) *Hub {
	t.Helper()
	o := DefaultOptions()
	// A goroutine that waits for the kernel would stop the test's clock.
	o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(l), nil }
	if change != nil {
		change(&o)
	}
	h, err := NewHub(o)
	if err != nil {
		t.Fatal(err)
	}
	h.bus = lonely{}
	t.Cleanup(func() {
		h.awaitSockets()
		h.Close()
	})
	return h
}

// attachPipe connects a client of tenant acme to h by a pipe. read runs in a
// goroutine of its own, until the end of the test closes the pipe.
func attachPipe(t *testing.T, h *Hub, read func(net.Conn)) net.Conn {
	t.Helper()
	tenant, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	if err := h.attach(server, &handshake.Upgraded{Dialect: handshake.Plain}, &auth.Principal{Tenant: tenant}); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { read(client) })
	t.Cleanup(func() {
		_ = client.Close()
		reading.Wait()
	})
	return client
}

// closedAt is the close frame that a client got, and when.
type closedAt struct {
	code   ws.StatusCode
	reason string
	at     time.Time
}

// dialPipe connects a client to h by a pipe. What the client gets is read, and
// the close frame handed out.
func dialPipe(t *testing.T, h *Hub) (net.Conn, <-chan closedAt) {
	t.Helper()
	closed := make(chan closedAt, 1)
	client := attachPipe(t, h, func(conn net.Conn) {
		for {
			f, err := ws.ReadFrame(conn)
			if err != nil {
				return
			}
			if f.Header.OpCode == ws.OpClose {
				code, reason := ws.ParseCloseFrameData(f.Payload)
				closed <- closedAt{code, reason, time.Now()}
				_, _ = io.Copy(io.Discard, conn)
				return
			}
		}
	})
	return client, closed
}
