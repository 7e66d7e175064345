package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	to      *target
	subject string
	header  nats.Header
	data    []byte
	msg     *message.Message
	print   []byte // of what has a key
	give    time.Time
	done    func(message.Accepted, error)

	// abandoned says that who waited has gone.
	abandoned atomic.Bool
	// finished is set by who calls done.
	finished atomic.Bool
	// again is when it is to be sent anew, in Unix nanoseconds; 0: it waits for an
	// answer.
	again atomic.Int64

	// Owned by runPuts.
	id    uint64
	epoch *epoch // when it was sent
	tries int
}

// target is a stream that takes messages.
type target struct {
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
		dated.Deadline = dated.AcceptedAt.Add(s.timeout + lateness)
	}
	if m.Key != "" {
		p.print = fingerprint(m)
		p.set(jetstream.MsgIDHeader, messageKeyID(m.Target, m.Key))
	}
	var err error
	p.data, err = sealEnvelope(&dated, s.self, p.print)
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
	s := p.s
	s.mu.Lock()
	s.inFlight--
	s.inFlightBytes -= int64(len(p.data))
	if s.inFlight == 0 && s.closed {
		close(s.drained)
	}
	s.mu.Unlock()
	p.done(a, err)
}

// sender is what runPuts works on.
type sender struct {
	s *store
	// sent holds what waits for an answer, in the order of the deadlines.
	sent []*put
	// latest is the last message that was sent on a subject while it had not been
	// answered. What is no longer the last is not sent anew: it would overtake.
	latest map[string]*put
}

// runPuts sends what is queued, in order, until ctx is done.
func (s *store) runPuts(ctx context.Context) {
	w := &sender{s: s, latest: make(map[string]*put)}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	armed := false
	for {
		select {
		case <-ctx.Done():
			w.abort()
			return
		case p := <-s.queue:
			w.first(p)
		case <-timer.C:
			armed = false
			w.sweep(time.Now())
		}
		if !armed && len(w.sent) > 0 {
			timer.Reset(putSweep)
			armed = true
		}
	}
}

// first sends p for the first time.
func (w *sender) first(p *put) {
	if p.abandoned.Load() {
		p.finish(message.Accepted{}, message.ErrUnavailable)
		return
	}
	if d := p.msg.Deadline; !d.IsZero() && time.Now().After(d) {
		w.s.metrics.drop(dropExpired)
		p.finish(message.Accepted{}, message.ErrUnavailable)
		return
	}
	w.sent = append(w.sent, p)
	w.latest[p.subject] = p
	w.send(p)
	w.s.metrics.published[p.msg.Target.Kind()].Inc()
}

func (w *sender) send(p *put) {
	p.tries++
	p.epoch = w.s.epoch.Load()
	p.again.Store(0)
	id, err := w.s.asker.send(&nats.Msg{Subject: p.subject, Header: p.header, Data: p.data}, p)
	p.id = id
	if err != nil {
		p.failed(err)
	}
}

// sweep gives up what got no answer, and sends anew what may be.
func (w *sender) sweep(now time.Time) {
	kept := w.sent[:0]
	for _, p := range w.sent {
		switch again := p.again.Load(); {
		case p.finished.Load():
		case now.After(p.give):
			w.s.asker.forget(p.id)
			p.giveUp(fmt.Errorf("store: no answer within %s: %w", w.s.timeout, message.ErrUnavailable), message.ErrUnavailable)
		case again != 0 && now.UnixNano() >= again && w.latest[p.subject] != p:
			p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
		case again != 0 && now.UnixNano() >= again:
			w.send(p)
			kept = append(kept, p)
			continue
		default:
			kept = append(kept, p)
			continue
		}
		if w.latest[p.subject] == p {
			delete(w.latest, p.subject)
		}
	}
	clear(w.sent[len(kept):])
	w.sent = kept
}

// abort fails what is left.
func (w *sender) abort() {
	for _, p := range w.sent {
		p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
	}
	for {
		select {
		case p := <-w.s.queue:
			p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
		default:
			return
		}
	}
}

// lost says that the connection went away: with a key it can be sent again.
func (p *put) lost() {
	p.failed(fmt.Errorf("the connection broke: %w", message.ErrUnavailable))
}

// failed takes what may pass: no answer, or one that says to come again.
func (p *put) failed(err error) {
	if p.print != nil && time.Now().Add(putRetry).Before(p.give) {
		p.again.Store(time.Now().Add(putRetry).UnixNano())
		return
	}
	p.giveUp(fmt.Errorf("store: %w", err), message.ErrUnavailable)
}

// giveUp finishes p and notes that its stream does not work, by one of the errors
// of the package message.
func (p *put) giveUp(err, why error) {
	now := time.Now()
	if p.to.breaker.failed(why, now) {
		p.s.log.Warn("history does not take messages", "stream", p.to.name, "error", err)
		p.s.recheck(false)
	}
	p.finish(message.Accepted{}, err)
}

// ack is what a stream answers.
type ack struct {
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Error     *struct {
		Code        int    `json:"code"`
		ErrCode     uint16 `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// reply takes the answer of the stream.
func (p *put) reply(msg *nats.Msg) bool {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == statusNoResponders {
		p.failed(errors.Join(message.ErrUnavailable, errNoAnswerer))
		return true
	}
	var a ack
	if err := json.Unmarshal(msg.Data, &a); err != nil || a.Error == nil && (a.Stream != p.to.name || a.Sequence == 0) {
		p.giveUp(fmt.Errorf("store: an answer that is none: %w", message.ErrUnavailable), message.ErrUnavailable)
		return true
	}
	if a.Error != nil {
		p.refused(&a)
		return true
	}
	p.to.breaker.works()
	p.accepted(&a)
	return true
}

// Codes of JetStream that say that there is no room, and others.
const (
	codeAccountFull  = 10002
	codeInsufficient = 10023
	codeMemoryFull   = 10028
	codeStorageFull  = 10047
	codeStoreFailed  = 10077
	codeTooLarge     = 10054
	codeInProcess    = 10158
	codeNoMessage    = 10037
)

func (p *put) refused(a *ack) {
	err := fmt.Errorf("store: %s (%d)", a.Error.Description, a.Error.ErrCode)
	switch a.Error.ErrCode {
	case codeTooLarge:
		p.finish(message.Accepted{}, errors.Join(message.ErrTooLarge, err))
	case codeAccountFull, codeInsufficient, codeMemoryFull, codeStorageFull:
		p.giveUp(errors.Join(message.ErrHistoryFull, err), message.ErrHistoryFull)
	case codeStoreFailed:
		if strings.Contains(a.Error.Description, "maximum") || strings.Contains(a.Error.Description, "no space") {
			p.giveUp(errors.Join(message.ErrHistoryFull, err), message.ErrHistoryFull)
			return
		}
		p.giveUp(errors.Join(message.ErrUnavailable, err), message.ErrUnavailable)
	case codeInProcess:
		p.failed(errors.Join(message.ErrUnavailable, err))
	default:
		p.failed(errors.Join(message.ErrUnavailable, err))
	}
}

// accepted takes a good answer. What needs another look goes to the verifiers.
func (p *put) accepted(a *ack) {
	stored := p.to == &p.s.stored
	if a.Duplicate || stored && !p.s.noteAck(p.epoch, a.Sequence) {
		p.s.verify <- doubtful{p, *a} // It has room for all that may be in flight.
		return
	}
	accepted := message.Accepted{ID: p.msg.ID}
	if stored {
		accepted.Position = message.Position{Epoch: p.epoch.id, Offset: a.Sequence}
	}
	p.finish(accepted, nil)
}

// doubtful is an answer that can't be passed on as it is.
type doubtful struct {
	p *put
	a ack
}

// runVerify looks at doubtful answers until ctx is done.
func (s *store) runVerify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.verify:
			d.p.finish(s.look(ctx, d))
		}
	}
}

// look finds out what d means: the first message with the key, or a stream that
// began anew.
func (s *store) look(ctx context.Context, d doubtful) (message.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	stored := d.p.to == &s.stored
	if !d.a.Duplicate {
		if err := s.check(ctx); err != nil {
			return message.Accepted{}, fmt.Errorf("store: %w", available(err))
		}
	}
	accepted := message.Accepted{ID: d.p.msg.ID}
	if stored {
		accepted.Position = message.Position{Epoch: s.epochID(), Offset: d.a.Sequence}
	}
	first, err := s.first(ctx, d.p.to.name, d.a.Sequence)
	switch {
	case errors.Is(err, errNoMessage) && d.a.Duplicate:
		// Trimmed since: all that is known is that there was one.
		accepted.ID, accepted.Duplicate = message.ID{}, true
		return accepted, nil
	case err != nil:
		return message.Accepted{}, fmt.Errorf("store: %w", available(err))
	case first.id == d.p.msg.ID:
		// Sent anew, and the first time had arrived.
		return accepted, nil
	case !d.a.Duplicate:
		return message.Accepted{}, fmt.Errorf("store: the stream began anew: %w", message.ErrUnavailable)
	case first.print != string(d.p.print):
		return message.Accepted{}, fmt.Errorf("store: %w", message.ErrKeyConflict)
	}
	accepted.ID, accepted.Duplicate = first.id, true
	return accepted, nil
}
