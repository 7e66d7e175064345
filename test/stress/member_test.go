package stress_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// member is a client of the soak. The load replaces its connection now and
// then; one goroutine reads each.
type member struct {
	// set once
	soak         *soak
	tenant, user int
	token        string

	// own are the marks of its tenant, its user and its group.
	own [3]string
	// tenantLast and ownLast are the numbers that came last; 0: none came to
	// this connection.
	tenantLast, ownLast atomic.Int64

	reading sync.WaitGroup
	leaving atomic.Bool

	mu   sync.Mutex
	peer *peer // nil: not connected
}

// connect connects, joins the group and begins to read.
func (m *member) connect(ctx context.Context) error {
	group := fmt.Sprintf("@%s.g%d@", tenantName(m.tenant), m.user/soakGroup)
	m.own = [3]string{tenantMark(m.tenant), userMark(m.tenant, m.user), group}
	m.tenantLast.Store(0)
	m.ownLast.Store(0)
	p, err := dialPeer(ctx, m.soak.node.HTTP, m.token)
	if err != nil {
		return err
	}
	err = p.request("join_channel", "", map[string]string{"channel": m.channel()})
	for joined := false; err == nil && !joined; {
		var text []byte
		if text, err = p.next(); err == nil {
			joined = bytes.HasPrefix(text, []byte(`{"type":"channel_joined",`))
			err = m.take(text)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("connect %s: %w", m.own[1], err), p.close())
	}
	m.mu.Lock()
	m.peer = p
	m.mu.Unlock()
	m.leaving.Store(false)
	m.reading.Go(func() { m.read(p) }) // leave ends it and waits
	return nil
}

func (m *member) channel() string { return "tenant:" + tenantName(m.tenant) + ":" + m.own[2] }

// read takes all that comes until the connection ends, which it must not do by
// itself.
func (m *member) read(p *peer) {
	for {
		text, err := p.next()
		if err == nil {
			err = m.take(text)
		} else if m.leaving.Load() {
			return
		}
		if err != nil {
			m.soak.fail(fmt.Errorf("client of %s: %w", m.own[1], err))
			return
		}
	}
}

// take checks a message: whose it is, and that none is missing before it.
func (m *member) take(text []byte) error {
	m.soak.received.Add(1)
	if err := checkMarks(text, m.own[:]...); err != nil {
		return err
	}
	last := &m.tenantLast
	switch {
	case bytes.HasPrefix(text, []byte(`{"type":"channel_message",`)):
		m.soak.heard.Add(1)
		return nil
	case bytes.HasPrefix(text, []byte(`{"type":"notification",`)):
		last = &m.ownLast
	case !bytes.HasPrefix(text, []byte(`{"type":"news",`)):
		return nil
	}
	var message struct{ Data struct{ N int64 } }
	if err := json.Unmarshal(text, &message); err != nil {
		return err
	}
	if before := last.Swap(message.Data.N); before != 0 && message.Data.N != before+1 {
		return fmt.Errorf("%w: after %d came %q", errMissed, before, text)
	}
	return nil
}

// talk says something to the group.
func (m *member) talk() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peer == nil {
		return nil // it is being replaced
	}
	return m.peer.request("send_message", "", map[string]string{"channel": m.channel(), "message": m.own[2]})
}

// leave ends the connection, in one of several ways. It does nothing when there
// is none.
func (m *member) leave() {
	m.mu.Lock()
	p := m.peer
	m.peer = nil
	m.mu.Unlock()
	if p == nil {
		return
	}
	m.leaving.Store(true)
	// How these end shows when more is read, which is not looked at any more.
	switch rand.IntN(3) {
	case 0:
		_ = p.write(ws.NewCloseFrame(nil)) // The server ends it.
	case 1:
		_ = p.close()
	default:
		_ = p.reset()
	}
	m.reading.Wait()
	_ = p.close()
}
