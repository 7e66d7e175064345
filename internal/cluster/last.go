package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// lastMost is what one question to the servers may name.
	lastMost = 1000
	// lastSingly is up to how many targets the leader is asked one by one.
	lastSingly = 4
	// lastAtOnce bounds the questions to the leader that wait together.
	lastAtOnce = 16
)

// staleWaits are the pauses before a server that is behind is asked again.
func staleWaits() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms}
}

// last returns the newest offset of each target. See Router.Last.
func (s *store) last(ctx context.Context, targets []address.Target) (string, []uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.timeout)
	defer cancel()
	for range confirmations {
		e := s.epoch.Load()
		if e == nil {
			break
		}
		offsets := make([]uint64, 0, len(targets))
		for from := 0; from < len(targets); from += lastMost {
			part, err := s.lastOf(ctx, e, targets[from:min(from+lastMost, len(targets))])
			if err != nil {
				return "", nil, fmt.Errorf("history: %w", available(err))
			}
			offsets = append(offsets, part...)
		}
		if s.epoch.Load() == e {
			return e.id, offsets, nil
		}
	}
	return "", nil, fmt.Errorf("history: %w", message.ErrUnavailable)
}

// available hides causes behind the error that callers know.
func available(err error) error {
	if errors.Is(err, message.ErrUnavailable) {
		return err
	}
	return errors.Join(message.ErrUnavailable, err)
}

func (s *store) lastOf(ctx context.Context, e *epoch, targets []address.Target) ([]uint64, error) {
	offsets := make([]uint64, len(targets))
	if len(targets) > lastSingly {
		done, err := s.lastTogether(ctx, e, targets, offsets)
		if err != nil || done {
			return offsets, err
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	room := make(chan struct{}, lastAtOnce)
	for n, t := range targets {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			offset, err := s.lastSingle(ctx, e, t)
			mu.Lock()
			defer mu.Unlock()
			if offsets[n] = offset; err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	return offsets, failed
}

// lastSingle asks the leader for one target. For one that is empty it returns
// what the stream is known to have reached.
func (s *store) lastSingle(ctx context.Context, e *epoch, t address.Target) (uint64, error) {
	subject := storeSubject(t)
	if subject == "" {
		return e.seen.Load(), nil
	}
	reached := e.seen.Load()
	msg, err := s.leaderGet(ctx, streamHistory, getRequest{LastFor: subject})
	if errors.Is(err, errNoMessage) {
		return reached, nil
	}
	if err != nil {
		return 0, err
	}
	return msg.Sequence, nil
}

// lastTogether asks any server for all targets. It counts only if that server has
// all that the leader had before; done is false if none was found.
func (s *store) lastTogether(ctx context.Context, e *epoch, targets []address.Target, offsets []uint64) (done bool, err error) {
	stream, err := s.js.Stream(ctx, streamHistory)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", streamHistory, err)
	}
	reached := stream.CachedInfo().State.LastSeq
	raise(&e.seen, reached)
	index := make(map[string]int, len(targets))
	subjects := make([]string, 0, len(targets))
	for n, t := range targets {
		offsets[n] = reached
		subject := storeSubject(t)
		if subject == "" {
			continue
		}
		if _, twice := index[subject]; twice {
			// Rare enough to be asked one by one.
			return false, nil
		}
		index[subject] = n
		subjects = append(subjects, subject)
	}
	if len(subjects) == 0 {
		return true, nil
	}
	got, done, err := s.lastFresh(ctx, subjects, reached)
	if err != nil || !done {
		return false, err
	}
	for _, msg := range got {
		n, known := index[msg.Header.Get(jetstream.SubjectHeader)]
		offset, ok := parseSequence(msg.Header.Get(jetstream.SequenceHeader))
		if !known || !ok {
			return false, errUnasked
		}
		offsets[n] = offset
	}
	return true, nil
}

// lastFresh returns the newest messages on subjects as a server has them that has
// reached that offset. ok is false if none was found.
func (s *store) lastFresh(ctx context.Context, subjects []string, reached uint64) (got []*nats.Msg, ok bool, err error) {
	for _, pause := range append(staleWaits(), 0) {
		got, end, err := s.directGet(ctx, getRequest{MultiLast: subjects}, len(subjects))
		if err != nil {
			return nil, false, err
		}
		if end == nil && s.replicas.Load() <= 1 {
			return nil, true, nil
		}
		if end != nil {
			if upTo, ok := parseSequence(end.Header.Get(headerUpTo)); ok && upTo >= reached {
				// An answer that was cut, by its bytes, is none.
				return got, end.Header.Get(headerPending) == "0", nil
			}
		}
		if !wait(ctx, pause) {
			return nil, false, fmt.Errorf("history: %w", ctx.Err())
		}
	}
	return nil, false, nil
}
