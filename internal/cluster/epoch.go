package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// renewEvery is how often the record's offset follows the stream.
	renewEvery = 30 * time.Second
	// checkAgain is when a check that failed is repeated.
	checkAgain = time.Second
	// checkPause is the least time between two checks.
	checkPause = 50 * time.Millisecond
	// heardEvery is how often another node's epoch makes this one look.
	heardEvery = 5 * time.Second
	// quiet is how long after a change copies don't count as seen: they may be of
	// the old life.
	quiet = 10 * time.Second
	// confirmations and confirmPause: a stream that seems to have gone backwards
	// is asked so often before that is believed, since a new leader may be late.
	confirmations = 3
	confirmPause  = 150 * time.Millisecond
)

// epoch is one life of the stream, as this node knows it.
type epoch struct {
	id    string
	since time.Time // zero for the first one that this node knows
	life  life
	// seen is the highest offset that this node has seen, acked the highest that
	// an answer to it had.
	seen, acked atomic.Uint64
	// backwards says that the stream gave out an offset that it had given out.
	backwards atomic.Bool
}

// record is what the streams keep of the epoch.
type record struct {
	Epoch string `json:"epoch"`
	// Created is when the stream was made, in Unix nanoseconds by its own clock.
	Created int64 `json:"created"`
	// Offset is one that the stream has reached.
	Offset uint64 `json:"offset"`
}

// raise sets a to n if that is more.
func raise(a *atomic.Uint64, n uint64) {
	for have := a.Load(); n > have; have = a.Load() {
		if a.CompareAndSwap(have, n) {
			return
		}
	}
}

// epochID returns the current epoch; empty while it is not known.
func (s *store) epochID() string {
	if s == nil {
		return ""
	}
	if e := s.epoch.Load(); e != nil {
		return e.id
	}
	return ""
}

// noteCopy notes where a live copy stood.
func (s *store) noteCopy(p message.Position) {
	if s == nil || p.IsZero() {
		return
	}
	if e := s.epoch.Load(); e.id == p.Epoch && (p.Offset <= e.seen.Load() || time.Since(e.since) > quiet) {
		raise(&e.seen, p.Offset)
	}
}

// noteAck notes the offset of a message that was sent in epoch e, when floor had
// been seen. It reports false when that can't be in e: another has begun, or the
// stream went backwards. What was seen before a message was sent is before it, so
// one is enough to know that, however far the stream has come since.
func (s *store) noteAck(e *epoch, offset, floor uint64) bool {
	if offset <= floor {
		e.backwards.Store(true)
	}
	if e != s.epoch.Load() || offset <= e.acked.Load() || e.backwards.Load() {
		return false
	}
	raise(&e.acked, offset)
	raise(&e.seen, offset)
	return true
}

// mark puts the epoch into a heartbeat.
func (s *store) mark(hb *clusterv1.Heartbeat) {
	if s == nil {
		return
	}
	if e := s.epoch.Load(); e != nil {
		hb.HistoryEpoch, hb.HistoryOffset = e.id, e.seen.Load()
	}
}

// hear notes what another node has seen.
func (s *store) hear(hb *clusterv1.Heartbeat) {
	if s == nil || hb.GetHistoryEpoch() == "" {
		return
	}
	e := s.epoch.Load()
	if e != nil && e.id == hb.GetHistoryEpoch() {
		raise(&e.seen, hb.GetHistoryOffset())
		return
	}
	now := time.Now().UnixNano()
	if last := s.heard.Load(); now-last > int64(heardEvery) && s.heard.CompareAndSwap(last, now) {
		s.recheck(false)
	}
}

// recheck makes the keeper look soon. With doubt, the sink is told to look, too.
func (s *store) recheck(doubt bool) {
	if doubt {
		s.doubt.Store(true)
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// runKeeper keeps the streams and the epoch right until ctx is done.
func (s *store) runKeeper(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.kick:
		}
		if !s.present() {
			timer.Reset(checkAgain)
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, s.timeout+confirmations*confirmPause)
		err := s.check(bounded)
		cancel()
		if err == nil {
			failing = false
			timer.Reset(renewEvery - renewEvery/10 + mathrand.N(renewEvery/5)) //nolint:gosec // Jitter is no secret.
			if s.doubt.Swap(false) {
				s.sink.Doubt(address.Target{})
			}
		} else {
			if !failing && ctx.Err() == nil {
				s.log.Warn("history is not available", "error", err)
			}
			failing = true
			timer.Reset(checkAgain)
		}
		s.mend(ctx)
		if !wait(ctx, checkPause) {
			return
		}
	}
}

// errEpochMoved says that another node was faster.
var errEpochMoved = errors.New("the record of the epoch is being changed")

// check makes the streams if they are not there, and finds out the epoch.
func (s *store) check(ctx context.Context) error {
	s.checking.Lock()
	defer s.checking.Unlock()
	if !s.asker.connected.Load() {
		return message.ErrUnavailable
	}
	for range confirmations {
		err := s.checkOnce(ctx)
		if !errors.Is(err, errEpochMoved) {
			return err
		}
	}
	return errEpochMoved
}

func (s *store) checkOnce(ctx context.Context) error {
	stored, keys, epochs := streamConfigs(s.opts)
	if _, err := s.ensure(ctx, epochs); err != nil {
		return err
	}
	if _, err := s.ensure(ctx, keys); err != nil {
		return err
	}
	// In this order: the stream must have reached what was known before.
	rec, revision, err := s.loadRecord(ctx)
	if err != nil {
		return err
	}
	known, backwards := rec.Offset, false
	if e := s.epoch.Load(); e != nil && e.id == rec.Epoch {
		known, backwards = max(known, e.seen.Load()), e.backwards.Load()
	}
	info, err := s.inspect(ctx, stored, rec.Created, known)
	if err != nil {
		return err
	}
	next := record{Epoch: rec.Epoch, Created: info.Created.UnixNano(), Offset: info.State.LastSeq}
	if rec.Epoch == "" || rec.Created != next.Created || next.Offset < known || backwards {
		next.Epoch = rand.Text()
		s.log.Warn("a new epoch of the history begins", "offset", next.Offset, "known_offset", known)
	}
	if next != rec {
		if err := s.saveRecord(ctx, next, revision); err != nil {
			return err
		}
	}
	s.adopt(next, info)
	return nil
}

// inspect returns how the stream is, and makes it if it is not there. One that
// has not reached the known offset is asked several times.
func (s *store) inspect(
	ctx context.Context, want jetstream.StreamConfig, created int64, known uint64,
) (*jetstream.StreamInfo, error) {
	for n := 0; ; n++ {
		info, err := s.ensure(ctx, want)
		if err != nil {
			return nil, err
		}
		if info.State.LastSeq >= known || info.Created.UnixNano() != created || n == confirmations {
			return info, nil
		}
		if !wait(ctx, confirmPause) {
			return nil, fmt.Errorf("check of the epoch: %w", ctx.Err())
		}
	}
}

// adopt makes rec's epoch the current one.
func (s *store) adopt(rec record, info *jetstream.StreamInfo) {
	s.replicas.Store(int32(info.Config.Replicas)) //nolint:gosec // At most 5.
	s.metrics.historyBytes.Set(float64(info.State.Bytes))
	s.metrics.historyMaxBytes.Set(float64(info.Config.MaxBytes))
	e := s.epoch.Load()
	if e == nil || e.id != rec.Epoch {
		first, before := e == nil, s.epochID()
		e = &epoch{id: rec.Epoch}
		if !first {
			e.since, e.life = time.Now(), newLife(before, info)
		}
		s.epoch.Store(e)
		s.tryAgain()
		s.doubt.Store(true)
		s.recheck(false)
	}
	raise(&e.seen, rec.Offset)
}

// tryAgain forgets that the streams were away.
func (s *store) tryAgain() {
	s.stored.breaker.recovered(message.ErrUnavailable)
	s.keys.breaker.recovered(message.ErrUnavailable)
	s.record.recovered(message.ErrUnavailable)
}

// loadRecord asks the leader. Without a record it is zero.
func (s *store) loadRecord(ctx context.Context) (rec record, revision uint64, err error) {
	msg, err := s.leaderGet(ctx, streamEpoch, getRequest{LastFor: subjectEpoch})
	if errors.Is(err, errNoMessage) {
		return record{}, 0, nil
	}
	if err != nil {
		return record{}, 0, err
	}
	if json.Unmarshal(msg.Data, &rec) != nil {
		// Nobody can read it: begin anew.
		rec = record{}
	}
	return rec, msg.Sequence, nil
}

// saveRecord replaces the record of that revision, or nothing.
func (s *store) saveRecord(ctx context.Context, rec record, revision uint64) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("record of the epoch: %w", err)
	}
	_, err = s.js.Publish(ctx, subjectEpoch, data, jetstream.WithExpectLastSequencePerSubject(revision),
		jetstream.WithExpectStream(streamEpoch))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return errEpochMoved
	}
	if err != nil {
		s.record.failed(message.ErrUnavailable, time.Now())
		return fmt.Errorf("record of the epoch: %w", err)
	}
	s.record.works()
	return nil
}
