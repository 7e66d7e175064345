package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/message"
)

// lost says that the connection went away.
func (p *put) lost() {
	if !p.retry() {
		p.finish(message.Accepted{}, fmt.Errorf("store: the connection broke: %w", message.ErrUnavailable))
	}
}

// failed takes what may pass.
func (p *put) failed(err error) {
	p.s.recheck(false)
	if !p.retry() {
		p.giveUp(fmt.Errorf("store: %w", err), message.ErrUnavailable)
	}
}

// retry reports whether p is sent again, which only a key makes safe.
func (p *put) retry() bool {
	at := time.Now().Add(putRetry)
	if p.content == nil || at.After(p.give) {
		return false
	}
	p.again.Store(at.UnixNano())
	return true
}

// giveUp finishes p and notes that its stream does not work, by one of the errors
// of the package message.
func (p *put) giveUp(err, why error) {
	now := time.Now()
	if p.to.breaker.failed(why, now) {
		p.s.log.Warn("history does not take messages", "stream", p.to.name, "error", err)
		p.s.recheck(false)
	}
	if p.s.mender != nil && p.to.breaker.stuck() > 0 {
		p.s.recheck(false) // The keeper looks how long it has been so.
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
	if len(msg.Data) == 0 && msg.Header.Get(headerStatus) == statusNoResponders {
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
	if a.Duplicate || stored && !p.s.noteAck(p.epoch, a.Sequence, p.floor) {
		p.answered.Store(true)
		select {
		case p.s.verify <- doubtful{p, *a}:
		default:
			p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
		}
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
	case first.content != string(d.p.content):
		return message.Accepted{}, fmt.Errorf("store: %w", message.ErrKeyConflict)
	}
	accepted.ID, accepted.Duplicate = first.id, true
	return accepted, nil
}
