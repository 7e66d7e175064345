package cluster

import (
	"context"

	"github.com/aegisx/pushd/internal/history"
)

// skipQuestions bounds the questions by which a read finds where to begin.
const skipQuestions = 20

// use returns how many of the newest messages the read has a use for: no more than
// the rule keeps, of which the stream may keep more.
func (r *reading) use() uint64 {
	most := r.limit.Messages
	if r.q.Newest > 0 {
		most = min(most, r.q.Newest)
	}
	return uint64(most) //nolint:gosec // Positive.
}

// far reports whether so many messages are behind one that to read them all would
// cost much more than to read those that there is a use for.
func (r *reading) far(pending uint64) bool { return pending > r.use()+2*readBatch }

// skip goes from first, which is far from what there is a use for, to where that
// begins, or to somewhat before. It looks at single messages: behind each the
// server tells how many there are.
func (r *reading) skip(ctx context.Context, first storedEntry) error {
	r.looked = true
	low, lowPending := first.offset, first.pending
	high, err := r.end(ctx)
	if err != nil {
		return err
	}
	highPending := uint64(0)
	goal := r.use() + readBatch/2
	for n := 0; n < skipQuestions && r.far(lowPending) && high > low+1; n++ {
		middle := low + (high-low)/2
		if n%2 == 0 && lowPending > highPending && goal > highPending {
			// Most targets get their messages evenly.
			share := float64(lowPending-goal) / float64(lowPending-highPending)
			middle = low + max(1, uint64(float64(high-low)*min(share, 1)))
		}
		middle = min(middle, high-1)
		e, ok, err := r.peek(ctx, middle)
		if err != nil {
			return err
		}
		if !ok || e.offset >= high || e.pending < r.use() {
			high = middle
			if ok {
				highPending = e.pending
			}
			continue
		}
		low, lowPending = e.offset, e.pending
	}
	r.skipped = low > first.offset
	r.reached = max(r.reached, low-1)
	return nil
}

// end returns the offset of the newest message; 0: there is none.
func (r *reading) end(ctx context.Context) (uint64, error) {
	e, _, err := r.one(ctx, getRequest{MultiLast: []string{r.subject}})
	return e.offset, err
}

// peek returns the entry at offset, or the next one; false: there is none.
func (r *reading) peek(ctx context.Context, offset uint64) (e storedEntry, ok bool, err error) {
	e, ok, err = r.one(ctx, getRequest{Seq: offset, NextFor: r.subject, Batch: 1})
	if ok && e.offset < offset {
		return storedEntry{}, false, errUnasked
	}
	return e, ok, err
}

// one returns the entry that q asks for; false: there is none.
func (r *reading) one(ctx context.Context, q getRequest) (e storedEntry, ok bool, err error) {
	got, end, err := r.s.directGet(ctx, q, 1)
	if err != nil || end == nil || len(got) == 0 {
		return storedEntry{}, false, err
	}
	if e, ok = openStored(got[0], r.t, r.subject, r.epoch, r.now); !ok {
		return storedEntry{}, false, errUnasked
	}
	return e, true, nil
}

// skippedGap says why what was skipped does not come.
func (r *reading) skippedGap() history.Reason {
	if r.q.Newest > 0 && r.q.Newest < r.limit.Messages {
		return history.ReasonOverflow
	}
	return history.ReasonTrimmed
}
