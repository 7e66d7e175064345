package cluster

import (
	"context"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// Submit publishes m and calls done once, with what Publish returns, unless it
// returns an error. It never blocks, and done must not block either: it is
// called by a goroutine that serves others too.
func (r *Router) Submit(m *message.Message, done func(message.Accepted, error)) error {
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
// otherwise: a rule says so, and there is a history.
func (r *Router) Keeps(address.Target) bool { return false }

// Last returns, for each of targets, the offset of its newest stored message
// or, where there is none, an offset that all later ones exceed. It asks the
// leader, so everything that was stored before the call is in the answer.
func (r *Router) Last(context.Context, []address.Target) (epoch string, offsets []uint64, err error) {
	return "", nil, message.ErrNotStored
}

// Read returns stored messages of t.
func (r *Router) Read(context.Context, address.Target, history.Query) (*history.Page, error) {
	return nil, message.ErrNotStored
}
