package edge

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/poll"
)

// TestUnfinishedMessage: a client may be inside one message for 30 s, whatever
// else it sends meanwhile. One message after the other is as good as none.
func TestUnfinishedMessage(t *testing.T) {
	bytesOf := func(frames ...ws.Frame) (wire []byte) {
		for _, f := range frames {
			b, err := ws.CompileFrame(ws.MaskFrame(f))
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, b...)
		}
		return wire
	}
	begin := ws.NewFrame(ws.OpText, false, []byte(`{"type":`))
	finish := ws.NewFrame(ws.OpContinuation, true, []byte(`"ping"}`))
	pong := ws.NewPongFrame(nil)
	for name, c := range map[string]struct {
		// first is sent at once, then each every 10 s, so many times.
		first, each []byte
		times       int
		// closed is when 4102 must come, 0: not within a second after the last.
		closed time.Duration
	}{
		"a fragment, then pongs":         {bytesOf(begin), bytesOf(pong), 6, 30 * time.Second},
		"half a frame, byte by byte":     {bytesOf(begin)[:1], bytesOf(begin)[1:2], 1, 30 * time.Second},
		"finished in time":               {bytesOf(begin), bytesOf(finish, begin), 30, 0},
		"the last of many":               {bytesOf(begin), append(bytesOf(finish, begin), bytesOf(pong)...), 3, 60 * time.Second},
		"a pong in two parts, no others": {bytesOf(pong)[:3], append(bytesOf(pong)[3:], bytesOf(pong)[:3]...), 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				client, closed := dialPipe(t, newPipeHub(t))
				_, err := client.Write(c.first)
				for n := 0; n < c.times && err == nil; n++ {
					timer := time.NewTimer(10 * time.Second)
					<-timer.C
					_, err = client.Write(c.each)
				}
				wait := time.Second
				if c.closed > 0 {
					wait = time.Minute
				} else if err != nil {
					t.Fatal(err)
				}
				timer := time.NewTimer(wait)
				defer timer.Stop()
				select {
				case got := <-closed:
					took := got.at.Sub(began)
					if c.closed == 0 || took < c.closed || took > c.closed+2*tick {
						t.Errorf("closed after %s, want %s", took, c.closed)
					}
					if got.code != closePingTimeout || got.reason != reasonMessageTimeout {
						t.Errorf("closed with %d %q", got.code, got.reason)
					}
				case <-timer.C:
					if c.closed > 0 {
						t.Error("not closed")
					}
				}
			})
		})
	}
}

// closedAt is the close frame that a client got, and when.
type closedAt struct {
	code   ws.StatusCode
	reason string
	at     time.Time
}

// newPipeHub makes a hub for a bubble of synctest, without a server.
func newPipeHub(t *testing.T) *Hub {
	t.Helper()
	o := DefaultOptions()
	// A goroutine that waits for the kernel would stop the test's clock.
	o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(l), nil }
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

// dialPipe connects a client to h by a pipe. What the client gets is read, and
// the close frame handed out.
func dialPipe(t *testing.T, h *Hub) (net.Conn, <-chan closedAt) {
	t.Helper()
	tenant, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	if err := h.attach(server, &handshake.Upgraded{}, &auth.Principal{Tenant: tenant}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan closedAt, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			f, err := ws.ReadFrame(client)
			if err != nil {
				return
			}
			if f.Header.OpCode == ws.OpClose {
				code, reason := ws.ParseCloseFrameData(f.Payload)
				closed <- closedAt{code, reason, time.Now()}
				_, _ = io.Copy(io.Discard, client)
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = client.Close()
		reading.Wait()
	})
	return client, closed
}
