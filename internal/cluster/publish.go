package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// publishDepth and publishBytes bound what waits for the publisher.
	publishDepth = 8192
	publishBytes = 64 << 20
)

// outlet is what publisher needs of NATS.
type outlet interface {
	publish(subject string, data []byte) error
	flush(timeout time.Duration) error
}

// publisher has a goroutine that writes messages in the order in which they
// were queued, and one that flushes for all who wait for the server.
type publisher struct {
	// Set once.
	out     outlet
	timeout time.Duration
	limit   int // of a payload
	sealer  sealer
	live    *atomic.Bool // NATS is connected and settled
	metrics *metrics
	queue   chan *outgoing
	flushes chan struct{} // capacity 1: waiting is not empty
	stopped chan struct{} // closed when nothing is queued any more

	bytes atomic.Int64 // queued

	// Guarded by mu.
	mu      sync.Mutex
	closed  bool
	waiting []*outgoing
}

// outgoing is one sealed message, or a report.
type outgoing struct {
	kind     address.Kind // 0: a report
	subject  string
	data     []byte
	deadline time.Time
	// done is called once with the outcome, and does not block; nil if nobody
	// waits.
	done func(error)
	// abandoned says that who waited has gone before the message was written.
	abandoned atomic.Bool
}

func newPublisher(out outlet, o Options, self identity, live *atomic.Bool, m *metrics) *publisher {
	return &publisher{
		out:     out,
		timeout: o.PublishTimeout,
		limit:   o.MaxPayload,
		sealer:  sealer{self: self},
		live:    live,
		metrics: m,
		queue:   make(chan *outgoing, publishDepth),
		flushes: make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
}

// enqueue queues m for nobody who waits: what fails later is counted, unless only
// the server knows. See Router.Enqueue.
func (p *publisher) enqueue(m *message.Message) error {
	out, err := p.seal(m)
	if err != nil {
		return err
	}
	return p.push(out)
}

// submit queues m and calls done once NATS has it or can't get it, unless it
// returns an error. See Router.Submit.
func (p *publisher) submit(m *message.Message, done func(error)) error {
	out, err := p.seal(m)
	if err != nil {
		return err
	}
	out.done = done
	return p.push(out)
}

// publish queues m and waits until NATS has it. See Router.Publish.
func (p *publisher) publish(ctx context.Context, m *message.Message) error {
	out, err := p.seal(m)
	if err != nil {
		return err
	}
	outcome := make(chan error, 1)
	out.done = func(err error) { outcome <- err }
	if err := p.push(out); err != nil {
		return err
	}
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case err := <-outcome:
		return err
	case <-timer.C:
		out.abandoned.Store(true)
		return fmt.Errorf("publish: no answer within %s: %w", p.timeout, message.ErrUnavailable)
	case <-ctx.Done():
		out.abandoned.Store(true)
		return fmt.Errorf("publish: %w", ctx.Err())
	}
}

func (p *publisher) seal(m *message.Message) (*outgoing, error) {
	if m.Target.IsZero() {
		return nil, fmt.Errorf("publish: %w", errNoTarget)
	}
	if len(m.Payload) > p.limit {
		return nil, fmt.Errorf("publish %d bytes: %w", len(m.Payload), message.ErrTooLarge)
	}
	if !p.live.Load() {
		return nil, fmt.Errorf("publish: %w", message.ErrUnavailable)
	}
	dated := *m
	if dated.AcceptedAt.IsZero() {
		dated.AcceptedAt = time.Now()
	}
	if dated.Deadline.IsZero() {
		dated.Deadline = dated.AcceptedAt.Add(p.timeout + lateness)
		dated.Transit = true
	}
	data, err := p.sealer.seal(&dated, nil)
	if err != nil {
		return nil, err
	}
	return &outgoing{
		kind:     m.Target.Kind(),
		subject:  publishSubject(m.Target),
		data:     data,
		deadline: dated.Deadline,
	}, nil
}

func (p *publisher) push(out *outgoing) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("publish: %w", message.ErrUnavailable)
	}
	// An empty queue takes a message of any allowed size.
	if queued := p.bytes.Load(); queued > 0 && queued+int64(len(out.data)) > publishBytes {
		return fmt.Errorf("publish: %w", message.ErrOverloaded)
	}
	select {
	case p.queue <- out:
		p.bytes.Add(int64(len(out.data)))
		return nil
	default:
		return fmt.Errorf("publish: %w", message.ErrOverloaded)
	}
}

// close lets no more messages in. The goroutines finish what is queued.
func (p *publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.queue)
	}
}

// runWriter writes until close.
func (p *publisher) runWriter() {
	defer close(p.stopped)
	for out := range p.queue {
		p.bytes.Add(-int64(len(out.data)))
		err := p.write(out)
		if out.done == nil {
			continue
		}
		if err != nil {
			out.done(err)
			continue
		}
		p.mu.Lock()
		p.waiting = append(p.waiting, out)
		p.mu.Unlock()
		select {
		case p.flushes <- struct{}{}:
		default:
		}
	}
}

func (p *publisher) write(out *outgoing) error {
	var err error
	switch {
	case out.abandoned.Load():
		return message.ErrUnavailable
	case time.Now().After(out.deadline):
		p.metrics.drop(dropExpired)
		return fmt.Errorf("publish: %w: %w", message.ErrUnavailable, errExpired)
	case !p.live.Load():
		err = message.ErrUnavailable
	default:
		err = p.out.publish(out.subject, out.data)
	}
	if err == nil {
		if out.kind != 0 {
			p.metrics.published[out.kind].Inc()
		}
		return nil
	}
	if out.done == nil {
		p.metrics.drop(dropUnavailable)
	}
	return fmt.Errorf("publish: %w", err)
}

// runFlusher flushes until close. One flush serves all who wait when it begins.
func (p *publisher) runFlusher() {
	for {
		select {
		case <-p.flushes:
			p.flushWaiting()
		case <-p.stopped:
			p.flushWaiting()
			return
		}
	}
}

func (p *publisher) flushWaiting() {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	err := p.out.flush(p.timeout)
	if err != nil {
		err = fmt.Errorf("publish: %w", errors.Join(message.ErrUnavailable, err))
	}
	for _, out := range waiting {
		out.done(err)
	}
}
