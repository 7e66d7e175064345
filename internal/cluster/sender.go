package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/message"
)

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
		p.finish(message.Accepted{}, fmt.Errorf("store: %w: %w", message.ErrUnavailable, errExpired))
		return
	}
	w.sent = append(w.sent, p)
	w.latest[p.subject] = p
	w.send(p)
	w.s.metrics.published[p.msg.Target.Kind()].Inc()
}

func (w *sender) send(p *put) {
	if e := w.s.epoch.Load(); e != p.epoch {
		p.epoch, p.floor = e, e.seen.Load()
	}
	p.again.Store(0)
	id, err := w.s.asker.send(&nats.Msg{Subject: p.subject, Header: p.header, Data: p.data}, p)
	p.id = id
	switch {
	case errors.Is(err, message.ErrTooLarge):
		p.finish(message.Accepted{}, fmt.Errorf("store: %w", err))
	case err != nil:
		p.failed(err)
	}
}

// sweep gives up what got no answer, and sends anew what may be.
func (w *sender) sweep(now time.Time) {
	kept := w.sent[:0]
	for _, p := range w.sent {
		switch again := p.again.Load(); {
		case p.finished.Load():
		case now.After(p.give) && p.answered.Load():
			p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
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
