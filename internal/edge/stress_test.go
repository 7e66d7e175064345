package edge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/stats"
	"github.com/aegisx/pushd/test/harness"
)

const (
	stressClients = 50
	stressTime    = 2 * time.Second
)

// TestStress: clients come and go, join and leave, send and don't read, some
// joins wait and some fail, while messages go to every kind of target and the
// figures are read. Nothing foreign reaches anybody, and at the end, which env
// checks, all counts are zero.
func TestStress(t *testing.T) {
	tight := func(o *edge.Options) {
		o.OutboundQueueBytes, o.OutboundQueueFrames, o.MaxConnectionsPerUser = 16<<10, 64, 3
		o.Loops = 3
	}
	onEachDriver(t, tight, func(t *testing.T, e *env) {
		ctx, cancel := context.WithTimeout(t.Context(), stressTime)
		defer cancel()
		e.bus.set(func(b *fakeBus) { b.hold = func(address.Target) bool { return rand.IntN(8) == 0 } })
		var clients, others sync.WaitGroup
		for i := range stressClients {
			w := who{tenant: []string{"1", "10"}[i%2], user: []string{"", "a", "b", "c:d"}[i%4]}
			secret := token(t, w)
			clients.Go(func() {
				for ctx.Err() == nil {
					if err := visit(ctx, e, w, secret); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		stop := make(chan struct{})
		others.Go(func() { e.bus.settleNowAndThen(stop) })
		for _, tenant := range []string{"1", "10"} {
			others.Go(func() { bombard(e, tenant, stop) })
		}
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = e.hub.Local(stats.Query{Limit: 3})
				}
			}
		})
		clients.Wait()
		close(stop)
		others.Wait()
		e.bus.settle(nil)
		e.awaitConnections(t, 0)
		if got := e.hub.Totals(); got.MessagesIn == 0 || got.MessagesOut == 0 {
			t.Errorf("%+v", got)
		}
	})
}

// settleNowAndThen answers what waits, every few milliseconds, until stop.
func (b *fakeBus) settleNowAndThen(stop <-chan struct{}) {
	ticker := time.NewTicker(3 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		b.mu.Lock()
		held := b.held
		b.held = nil
		b.mu.Unlock()
		for _, w := range held {
			var err error
			if rand.IntN(10) == 0 {
				err = errors.New("no route")
			}
			w.ready(err)
		}
	}
}

// bombard delivers to everything of a tenant, until stop. Each payload says for
// whom it is.
func bombard(e *env, tenant string, stop <-chan struct{}) {
	targets := []address.Target{
		tenantTarget(tenant), userTarget(tenant, "a"), userTarget(tenant, "b"), userTarget(tenant, "c:d"),
		channelTarget(tenant, "tenant:"+tenant+":0"), channelTarget(tenant, "tenant:"+tenant+":1"),
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for range 5 {
			e.deliver(targets[rand.IntN(len(targets))], `{"type":"x","data":{"tenant":"`+tenant+`"}}`)
		}
		if rand.IntN(10) == 0 {
			e.deliver(address.AllTarget(), `{"type":"all","data":{}}`)
		}
	}
}

// visit is one connection: some requests, some reading, and an end of one kind
// or another. An error is a fault of the server.
func visit(ctx context.Context, e *env, w who, token string) error {
	s, err := harness.Upgrade(ctx, e.url("/ws"), token, nil)
	if err != nil {
		// The deadline of a dial may pass a moment before ctx has ended.
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
	defer s.Close()
	for range 1 + rand.IntN(40) {
		channel := fmt.Sprintf("tenant:%s:%d", w.tenant, rand.IntN(3))
		var err error
		switch rand.IntN(6) {
		case 0, 1:
			err = s.Send("join_channel", map[string]string{"channel": channel})
		case 2:
			err = s.Send("leave_channel", map[string]string{"channel": channel})
		case 3:
			err = s.Say(channel, map[string]string{"tenant": w.tenant})
		case 4:
			err = s.Send("subscribe_notifications", map[string][]string{"types": {"x", fmt.Sprint(rand.IntN(3))}})
		default:
			err = listen(s, w)
		}
		if err != nil {
			return expected(err)
		}
	}
	switch rand.IntN(4) {
	case 0:
		return expected(s.SendFrame(ws.NewCloseFrame(nil)))
	case 1:
		return expected(s.SendFrame(ws.NewBinaryFrame(nil)))
	case 2:
		return expected(s.Conn().(*net.TCPConn).SetLinger(0)) // a reset
	default:
		return nil
	}
}

// listen reads some messages, which must not be another tenant's.
func listen(s *harness.Socket, w who) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for range 20 {
		m, err := s.Next(ctx)
		if err != nil {
			return err
		}
		if owner := m.Field("tenant"); m.Type == "x" && owner != w.tenant {
			return &foreignError{m.Text}
		}
	}
	return nil
}

type foreignError struct{ text string }

func (f *foreignError) Error() string { return "got another tenant's message: " + f.text }

// expected returns nil for the ends that a connection may meet here: all but a
// foreign message and a close code that nobody asked for.
func expected(err error) error {
	var foreign *foreignError
	var closed *harness.Closed
	switch {
	case errors.As(err, &foreign):
		return err
	case errors.As(err, &closed):
		switch closed.Code {
		case 1000, 1003, 4100, 4101, 4303:
			return nil
		default:
			return err
		}
	default:
		return nil // the connection is gone, or the time to read was over
	}
}
