package cluster

import (
	"context"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// Submit publishes m and calls done once, with what Publish returns, unless it
// returns an error. It never blocks, and done must not block either: it is
// called by a goroutine that serves others too, or by Submit itself.
func (r *Router) Submit(m *message.Message, done func(message.Accepted, error)) error {
	stream, stored, err := r.history.takes(m)
	if err != nil {
		return err
	}
	if stream {
		_, err := r.history.submit(m, stored, done)
		return err
	}
	id := m.ID
	return r.pub.submit(m, func(err error) {
		if err != nil {
			done(message.Accepted{}, err)
			return
		}
		done(message.Accepted{ID: id}, nil)
	})
}

// Keeps reports whether messages for t are stored, unless their publisher says
// otherwise: a rule says so, and there is a history. It stays so while the
// history is away.
func (r *Router) Keeps(t address.Target) bool { return r.history.keeps(t) }

// Last returns, for each of targets, the offset of its newest stored message
// or, where there is none, an offset that all later ones exceed. Everything that
// was stored before the call is in the answer. It fails with
// message.ErrNotStored where there is no history, and with
// message.ErrUnavailable while that is away.
func (r *Router) Last(ctx context.Context, targets []address.Target) (epoch string, offsets []uint64, err error) {
	if !r.history.here() {
		return "", nil, message.ErrNotStored
	}
	return r.history.last(ctx, targets)
}

// Read returns stored messages of t. Where a rule is for t, no more than it
// keeps. It fails like Last.
func (r *Router) Read(ctx context.Context, t address.Target, q history.Query) (*history.Page, error) {
	if !r.history.here() {
		return nil, message.ErrNotStored
	}
	return r.history.read(ctx, t, q)
}
