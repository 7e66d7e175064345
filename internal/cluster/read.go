package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// readBatch and readBytes bound one question to the servers.
	readBatch = 256
	readBytes = 1 << 20
	// clockSlack is how much the clocks of this node and of the stream may differ
	// in the proof that nothing has aged out; less for short ages.
	clockSlack = 5 * time.Second
)

// leaderPause is how long a leader that is behind is left alone.
const leaderPause = 50 * time.Millisecond

// read returns a page. See Router.Read.
func (s *store) read(ctx context.Context, t address.Target, q history.Query) (*history.Page, error) {
	subject := storeSubject(t)
	if subject == "" {
		return nil, fmt.Errorf("history: %w", message.ErrNotStored)
	}
	for range confirmations {
		e := s.epoch.Load()
		if e == nil {
			break
		}
		r := &reading{
			s: s, t: t, subject: subject, q: q, epoch: e.id, limit: s.limitOf(t), now: time.Now(),
			page: &history.Page{Epoch: e.id},
		}
		var err error
		if q.Reverse {
			err = r.backward(ctx)
		} else {
			err = r.forward(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("history: %w", available(err))
		}
		if s.epoch.Load() == e {
			return r.page, nil
		}
	}
	return nil, fmt.Errorf("history: %w", message.ErrUnavailable)
}

// reading is the work on one page.
type reading struct {
	s       *store
	t       address.Target
	subject string
	q       history.Query
	epoch   string
	limit   history.Limit
	now     time.Time

	page  *history.Page
	bytes int
	// promised is the newest offset by the leader; 0: none was asked for, or there
	// is none.
	promised uint64
	// reached is the highest offset that came; anchored says that the message at
	// After is there, kept how many of the target are behind After.
	reached  uint64
	anchored bool
	counted  bool
	kept     uint64
	// looked says that skip was tried, since far more is behind After than is of
	// use, and skipped that it found a later place to begin.
	looked, skipped bool
	// broken says that something may be missing between what came from one server
	// and what came from the next.
	broken bool
}

// promise asks the leader what there is, where other servers may be behind.
func (r *reading) promise(ctx context.Context) error {
	if r.s.replicas.Load() <= 1 {
		return nil
	}
	r.promised = r.q.Known
	if r.promised > r.q.After {
		// That is all that the caller can miss.
		return nil
	}
	msg, err := r.s.leaderGet(ctx, streamHistory, getRequest{LastFor: r.subject})
	if errors.Is(err, errNoMessage) {
		return nil
	}
	if err != nil {
		return err
	}
	r.promised = max(r.promised, msg.Sequence)
	return nil
}

// settled reports whether the leader has got as far as was promised: what it does
// not have is gone.
func (r *reading) settled(ctx context.Context) (bool, error) {
	stream, err := r.s.js.Stream(ctx, streamHistory)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", streamHistory, err)
	}
	return stream.CachedInfo().State.LastSeq >= r.promised, nil
}

// add puts an entry into the page unless that is full, which it reports.
func (r *reading) add(m *message.Message) (full bool) {
	if m == nil {
		return false
	}
	if n := len(r.page.Messages); n >= r.q.Limit || n > 0 && r.bytes+len(m.Payload) > r.q.Bytes {
		r.page.More = true
		return true
	}
	r.bytes += len(m.Payload)
	r.page.Messages = append(r.page.Messages, m)
	return false
}

// forward reads what is behind After.
func (r *reading) forward(ctx context.Context) error {
	if err := r.promise(ctx); err != nil {
		return err
	}
	waits := staleWaits()
	for from := max(r.q.After, 1); ; from = max(from, r.reached+1) {
		more, err := r.batch(ctx, from)
		if err != nil {
			return err
		}
		switch {
		case r.page.More:
			return r.prove(ctx)
		case more:
		case r.reached >= r.promised || r.promised <= r.q.After:
			return r.prove(ctx)
		case len(waits) > 0:
			if !wait(ctx, waits[0]) {
				return fmt.Errorf("read: %w", ctx.Err())
			}
			waits = waits[1:]
		default:
			// Before the questions, so that their answers are of a leader that has
			// got so far.
			settled, err := r.settled(ctx)
			if err != nil {
				return err
			}
			if !settled {
				if !wait(ctx, leaderPause) {
					return fmt.Errorf("read: %w", ctx.Err())
				}
				continue
			}
			if err := r.fromLeader(ctx, max(from, r.reached+1)); err != nil {
				return err
			}
			return r.prove(ctx)
		}
	}
}

// batch reads some more, and reports whether there are others behind.
func (r *reading) batch(ctx context.Context, from uint64) (more bool, err error) {
	// One for After itself, and one to see whether there is more.
	most := min(r.q.Limit-len(r.page.Messages)+2, readBatch)
	got, end, err := r.s.directGet(ctx, getRequest{
		Seq: from, NextFor: r.subject, Batch: most, MaxBytes: min(max(r.q.Bytes-r.bytes, 1), readBytes),
	}, most)
	if err != nil || end == nil {
		return false, err
	}
	for n, msg := range got {
		e, ok := openStored(msg, r.t, r.subject, r.epoch, r.now)
		if !ok {
			return false, errUnasked
		}
		if n == 0 && !r.counted && !r.looked && r.far(e.pending) {
			return true, r.skip(ctx, e)
		}
		if n == 0 && r.torn(e) || r.take(e) {
			return false, nil
		}
	}
	pending, ok := parseSequence(end.Header.Get(headerPending))
	return ok && pending > 0 && len(got) > 0, nil
}

// torn looks at the first entry of an answer, and reports whether the page ends
// before it. Newer ones may have pushed out what comes before it, after the last
// answer. The next page will tell, unless this one is empty.
func (r *reading) torn(e storedEntry) bool {
	if !r.counted || e.pending+1 < uint64(r.limit.Messages) { //nolint:gosec // Positive.
		return false
	}
	if len(r.page.Messages) > 0 {
		r.page.More = true
		return true
	}
	r.broken = true
	return false
}

// take notes an entry, and reports whether the page is full.
func (r *reading) take(e storedEntry) (full bool) {
	r.reached = max(r.reached, e.offset)
	if e.offset <= r.q.After {
		r.anchored, r.counted, r.kept = e.offset == r.q.After, true, e.pending
		return false
	}
	if !r.counted {
		r.counted, r.kept = true, e.pending+1
	}
	if e.pending >= uint64(r.limit.Messages) { //nolint:gosec // Positive.
		// The stream keeps more than the rule for this target does.
		return false
	}
	return r.add(e.msg)
}

// fromLeader reads what no other server had in time, one by one. The leader may
// have let go of what comes right behind what the others had.
func (r *reading) fromLeader(ctx context.Context, from uint64) error {
	had, messages, kept := r.reached, len(r.page.Messages), r.kept
	if err := r.oneByOne(ctx, from); err != nil {
		return err
	}
	if had <= r.q.After {
		had = r.q.After
		if !r.anchored {
			// How many there are, which would tell, was not counted to the end.
			r.broken = r.broken || r.page.More
			return nil
		}
	}
	// What is there now was there all the time, and so was what comes behind it.
	msg, err := r.s.leaderGet(ctx, streamHistory, getRequest{Seq: had, NextFor: r.subject})
	if err != nil && !errors.Is(err, errNoMessage) {
		return err
	}
	switch {
	case err == nil && msg.Sequence == had:
	case messages > 0:
		// The page ends before the hole, which the next one begins with.
		r.page.Messages, r.page.More, r.kept = r.page.Messages[:messages], true, kept
	default:
		r.broken = true
	}
	return nil
}

// oneByOne puts what the leader has into the page.
func (r *reading) oneByOne(ctx context.Context, from uint64) error {
	for from <= r.promised {
		msg, err := r.s.leaderGet(ctx, streamHistory, getRequest{Seq: from, NextFor: r.subject})
		if errors.Is(err, errNoMessage) {
			return nil
		}
		if err != nil {
			return err
		}
		if msg.Subject != r.subject || msg.Sequence < from {
			return errUnasked
		}
		if r.reached, from = msg.Sequence, msg.Sequence+1; msg.Sequence == r.q.After {
			r.anchored = true
			continue
		}
		r.counted = true
		r.kept++
		if r.add(openStoredData(msg.Data, r.t, msg.Sequence, r.epoch, r.now)) {
			return nil
		}
	}
	return nil
}

// prove says whether something between After and the first message may be gone.
func (r *reading) prove(ctx context.Context) error {
	limit := uint64(r.limit.Messages) //nolint:gosec // Positive.
	switch {
	case r.skipped:
		r.page.Gap = r.skippedGap()
		return nil
	case !r.broken && r.anchored && r.kept <= limit:
		return nil
	case r.broken || r.anchored || r.kept >= limit:
		r.page.Gap = history.ReasonTrimmed
		return nil
	}
	young, err := r.young(ctx)
	if err == nil && !young {
		r.page.Gap = history.ReasonExpired
	}
	return err
}

// young reports whether all that was stored behind After, for whomever, is
// younger than what is kept for the target, and still in reach of the stream: the
// oldest message that is so young comes right behind After, or before.
func (r *reading) young(ctx context.Context) (bool, error) {
	since := r.now.Add(-r.limit.Age + min(clockSlack, r.limit.Age/4)).UTC()
	got, end, err := r.s.directGet(ctx, getRequest{StartTime: &since, NextFor: prefixStore + ">", Batch: 1}, 1)
	if err != nil {
		return false, err
	}
	if end != nil && len(got) > 0 {
		oldest, ok := parseSequence(got[0].Header.Get(jetstream.SequenceHeader))
		return ok && oldest-1 <= r.q.After, nil
	}
	// Nothing is that young. So all that there ever was must be before After.
	stream, err := r.s.js.Stream(ctx, streamHistory)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", streamHistory, err)
	}
	return r.q.After >= stream.CachedInfo().State.LastSeq, nil
}

// newest is an offset that none exceeds. Servers are not asked for it: for one
// that they don't have they find nothing.
const newest = math.MaxUint64

// backward reads what is before After, newest first.
func (r *reading) backward(ctx context.Context) error {
	left, upTo, err := r.start(ctx)
	if err != nil {
		return err
	}
	for ; left > 0 && upTo > 0; left-- {
		msg, err := r.before(ctx, upTo)
		if err != nil || msg == nil {
			return err
		}
		e, ok := openStored(msg, r.t, r.subject, r.epoch, r.now)
		if !ok || e.offset > upTo {
			return errUnasked
		}
		upTo = e.offset - 1
		if r.q.After != 0 && e.offset >= r.q.After {
			// A server that was asked before did not have it yet.
			left, upTo = left+1, r.q.After-1
			continue
		}
		if r.add(e.msg) {
			return nil
		}
	}
	return nil
}

// start returns how many messages before After are kept by the rule, and the
// highest offset that may be one.
func (r *reading) start(ctx context.Context) (left, upTo uint64, err error) {
	left = uint64(r.limit.Messages) //nolint:gosec // Positive.
	if err := r.promise(ctx); err != nil {
		return 0, 0, err
	}
	if r.q.After == 0 {
		return left, newest, nil
	}
	// How many are not before After counts, too.
	got, end, err := r.s.directGet(ctx, getRequest{Seq: r.q.After, NextFor: r.subject, Batch: 1}, 1)
	if err != nil || end == nil || len(got) == 0 {
		return left, newest, err
	}
	pending, ok := parseSequence(got[0].Header.Get(headerPending))
	if !ok {
		return 0, 0, errUnasked
	}
	return left - min(left, pending+1), r.q.After - 1, nil
}

// before returns the newest message up to upTo, nil if there is none. A server
// that does not have what the leader promised is asked again.
func (r *reading) before(ctx context.Context, upTo uint64) (*nats.Msg, error) {
	request := getRequest{MultiLast: []string{r.subject}}
	if upTo != newest {
		request.UpTo = upTo
	}
	for _, pause := range append(staleWaits(), 0) {
		got, end, err := r.s.directGet(ctx, request, 1)
		if err != nil {
			return nil, err
		}
		if end != nil && len(got) > 0 {
			offset, _ := parseSequence(got[0].Header.Get(jetstream.SequenceHeader))
			if r.promised > upTo || offset >= r.promised {
				return got[0], nil
			}
		} else if r.promised == 0 || r.promised > upTo {
			return nil, nil //nolint:nilnil // There is none.
		}
		if !wait(ctx, pause) {
			return nil, fmt.Errorf("read: %w", ctx.Err())
		}
	}
	return nil, fmt.Errorf("no server has the newest message: %w", message.ErrUnavailable)
}
