package cluster

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/message"
)

const (
	// putMessages and putBytes bound what is on its way to the streams.
	putMessages = 8192
	putBytes    = 64 << 20
	// putRetry is how long a message with a key waits before it is sent anew.
	putRetry = 100 * time.Millisecond
	// putSweep is how exact the timeout is.
	putSweep = 25 * time.Millisecond
)

// put is one message on its way to a stream.
type put struct {
	s       *store
	to      *destination
	subject string
	header  nats.Header
	data    []byte
	msg     *message.Message
	content []byte // the fingerprint of what has a key
	give    time.Time
	done    func(message.Accepted, error)

	// abandoned says that who waited has gone.
	abandoned atomic.Bool
	// finished is set by who calls done.
	finished atomic.Bool
	// answered says that the stream answered, and that it is being looked at.
	answered atomic.Bool
	// again is when it is to be sent anew, in Unix nanoseconds; 0: it waits for an
	// answer.
	again atomic.Int64

	// Owned by runPuts.
	id    uint64
	epoch *epoch // when it was sent
	floor uint64 // what had been seen of that epoch before it was sent first
}

// destination is a stream that takes messages.
type destination struct {
	name    string
	breaker breaker
}

// submit queues m for a stream. done is called once, unless an error comes back.
// It never blocks.
func (s *store) submit(m *message.Message, stored bool, done func(message.Accepted, error)) (*put, error) {
	p, err := s.seal(m, stored)
	if err != nil {
		return nil, err
	}
	p.done = done
	if !stored && m.FromClient {
		most := s.opts.maxBytes() / keysShare / clientShare
		if !s.shares.take(m.Target.TenantToken(), int64(len(p.data)), most, time.Now()) {
			return nil, fmt.Errorf("store: %w", message.ErrOverloaded)
		}
	}
	if err := s.push(p); err != nil {
		return nil, err
	}
	return p, nil
}

// publish is submit that waits.
func (s *store) publish(ctx context.Context, m *message.Message, stored bool) (message.Accepted, error) {
	type outcome struct {
		accepted message.Accepted
		err      error
	}
	result := make(chan outcome, 1)
	p, err := s.submit(m, stored, func(a message.Accepted, err error) { result <- outcome{a, err} })
	if err != nil {
		return message.Accepted{}, err
	}
	select {
	case r := <-result:
		return r.accepted, r.err
	case <-ctx.Done():
		p.abandoned.Store(true)
		return message.Accepted{}, fmt.Errorf("publish: %w", ctx.Err())
	}
}

// seal makes the message for the stream.
func (s *store) seal(m *message.Message, stored bool) (*put, error) {
	if len(m.Payload) > s.limit {
		return nil, fmt.Errorf("publish %d bytes: %w", len(m.Payload), message.ErrTooLarge)
	}
	now := time.Now()
	dated := *m
	if dated.AcceptedAt.IsZero() {
		dated.AcceptedAt = now
	}
	p := &put{s: s, msg: m, to: &s.keys, subject: keyedSubject(m.Target), give: now.Add(s.timeout)}
	if stored {
		p.to, p.subject = &s.stored, storeSubject(m.Target)
		if ttl := s.ttl(&dated, now); ttl > 0 {
			p.set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(ttl/time.Second), 10)+"s")
		}
	} else if dated.Deadline.IsZero() {
		dated.Deadline, dated.Transit = dated.AcceptedAt.Add(s.timeout+lateness), true
	}
	if m.Key != "" {
		p.content = fingerprint(m)
		p.set(jetstream.MsgIDHeader, messageKeyID(m.Target, m.Key))
	}
	var err error
	p.data, err = s.sealer.seal(&dated, p.content)
	return p, err
}

// ttl returns for how long the stream shall keep m, in whole seconds; 0: as long
// as it keeps everything.
func (s *store) ttl(m *message.Message, now time.Time) time.Duration {
	var ttl time.Duration
	if age := s.limitOf(m.Target).Age; age < s.maxAge {
		ttl = age
	}
	if !m.Deadline.IsZero() {
		left := max(m.Deadline.Sub(now), time.Second)
		if left < s.maxAge && (ttl == 0 || left < ttl) {
			ttl = left
		}
	}
	return (ttl + time.Second - 1).Truncate(time.Second)
}

func (p *put) set(name, value string) {
	if p.header == nil {
		p.header = nats.Header{}
	}
	p.header[name] = []string{value}
}

// push queues p.
func (s *store) push(p *put) error {
	if s.epoch.Load() == nil || !s.asker.connected.Load() {
		return fmt.Errorf("store: %w", message.ErrUnavailable)
	}
	if err := p.to.breaker.allow(time.Now()); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("store: %w", message.ErrUnavailable)
	}
	size := int64(len(p.data))
	// The first may have any allowed size.
	if s.inFlight >= putMessages || s.inFlight > 0 && s.inFlightBytes+size > putBytes {
		return fmt.Errorf("store: %w", message.ErrOverloaded)
	}
	s.inFlight++
	s.inFlightBytes += size
	s.queue <- p // It has room for all that may be in flight.
	return nil
}

// finish tells the outcome, once.
func (p *put) finish(a message.Accepted, err error) {
	if p.finished.Swap(true) {
		return
	}
	p.done(a, err)
	s := p.s
	s.mu.Lock()
	s.inFlight--
	s.inFlightBytes -= int64(len(p.data))
	if s.inFlight == 0 && s.closed {
		close(s.drained)
	}
	s.mu.Unlock()
}
