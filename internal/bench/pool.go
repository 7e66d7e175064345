package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// driver holds the sockets of a pool and calls their sessions.
type driver interface {
	// close closes all sockets and returns when no session is called any more.
	close()
}

// pool is a set of connections. Connections never come back: the first that
// fails, fails the pool.
type pool struct {
	// set once
	start  time.Time
	total  int64
	driver driver

	// connects counts the time from when a connection was due to its being ready.
	connects histogram
	// recoveries counts the time from asking for what was missed to having it.
	recoveries histogram
	open       atomic.Int64
	// allReady is closed when every connection is ready, at readyAfter.
	allReady   chan struct{}
	readyAfter time.Duration

	// tally takes the messages; nil drops them.
	tally atomic.Pointer[tally]

	failOnce sync.Once
	// failed is closed once cause is set.
	failed chan struct{}
	cause  error
}

// newDriverFunc starts to open a socket for every session, in order and when it
// is due, at most so many at once.
type newDriverFunc func(p *pool, sessions []*session, atOnce int) (driver, error)

// openPool connects all clients, at most atOnce at a time, and returns when all
// are ready. The caller closes the pool.
func openPool(ctx context.Context, clients []Client, atOnce int, show func(Progress), start newDriverFunc) (*pool, error) {
	p, err := startPool(clients, atOnce, 0, start)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, show); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// startPool begins to connect all clients, so many in a second, or as fast as
// they come if rate is 0. The caller closes the pool.
func startPool(clients []Client, atOnce int, rate float64, start newDriverFunc) (*pool, error) {
	if err := checkFiles(len(clients)); err != nil {
		return nil, err
	}
	sessions := make([]*session, len(clients))
	for i, c := range clients {
		sessions[i] = newSession(c)
		if rate > 0 {
			sessions[i].due = lead + time.Duration(float64(i)/rate*float64(time.Second))
		}
	}
	p := &pool{
		start: time.Now(), total: int64(len(clients)),
		allReady: make(chan struct{}), failed: make(chan struct{}),
	}
	if p.total == 0 {
		close(p.allReady)
	}
	d, err := start(p, sessions, atOnce)
	if err != nil {
		return nil, err
	}
	p.driver = d
	return p, nil
}

// await returns when all connections are ready.
func (p *pool) await(ctx context.Context, show func(Progress)) (err error) {
	stop := watch(show, func() Progress {
		return Progress{What: "connections", Done: p.open.Load(), Total: p.total, Elapsed: p.now()}
	})
	defer stop()
	select {
	case <-p.allReady:
		return nil
	case <-p.failed:
		err = p.cause
	case <-ctx.Done():
		err = ended(ctx)
	}
	return fmt.Errorf("connect %d clients: after %d: %w", p.total, p.open.Load(), err)
}

// now is the time since the pool was made.
func (p *pool) now() time.Duration { return time.Since(p.start) }

// ready counts a session that is set up.
func (p *pool) ready(s *session, at time.Duration) {
	p.connects.record(at - s.began)
	if p.open.Add(1) == p.total {
		p.readyAfter = at
		close(p.allReady)
	}
}

// message counts a delivery.
func (p *pool) message(seq uint64, due, at time.Duration) {
	if t := p.tally.Load(); t != nil {
		t.message(seq, due, at)
	}
}

// fail says that a connection has ended before its time.
func (p *pool) fail(err error) {
	p.failOnce.Do(func() {
		p.cause = err
		close(p.failed)
	})
}

// close ends all connections.
func (p *pool) close() { p.driver.close() }
