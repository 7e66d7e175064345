package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// historyNodes is how many nodes of a mesh store its history: of one or two
	// of them none may be lost, and more cost more with each message.
	historyNodes = 3
	// electionTimeout bounds the wait for the other history nodes; with all of
	// them there it takes less than a second.
	electionTimeout = 30 * time.Second
	electionCheck   = 50 * time.Millisecond
	// historyCheck is how many heartbeats pass between two looks at how many
	// history nodes there are.
	historyCheck = 30
)

// errTooFew answers the start of a history node that does not find the others.
var errTooFew = fmt.Errorf("the history of a mesh needs exactly %d history nodes: "+
	"start %d, or use an external NATS, or none for a mesh without history", historyNodes, historyNodes)

// HasHistory reports whether messages are stored at all, in the mode that this
// node runs in. In a mesh it may turn true: when the first history node is met.
func (r *Router) HasHistory() bool {
	switch h := r.opts.History; {
	case h == nil:
		return false
	case !r.opts.mesh() || h.Node:
		return true
	default:
		_, met := r.gather.roster.historyNodes()
		return met
	}
}

// settleHistory gives the history up if it is an external NATS that has none.
// It comes before all that uses the history.
func (r *Router) settleHistory(ctx context.Context) error {
	if r.opts.History == nil || r.opts.NATSURL == "" {
		return nil
	}
	js, err := jetstream.New(r.conn.nc)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.PublishTimeout)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		r.log.Warn("nats has no jetstream: nothing is stored, there is no history")
		r.opts.History = nil
	}
	// Any other error may pass: the history is away.
	return nil
}

// awaitHistory waits until the history nodes of the mesh have found together,
// if this is one of them.
func (r *Router) awaitHistory(ctx context.Context) error {
	if !r.opts.mesh() || !r.opts.stores() {
		return nil
	}
	timed, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	for !r.elected() {
		if !wait(timed, electionCheck) {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("wait for the other history nodes: %w: %w", err, errTooFew)
			}
			return fmt.Errorf("the history nodes found no leader within %s: %w", electionTimeout, errTooFew)
		}
	}
	return nil
}

// elected reports whether the history nodes have a leader, of which this node
// knows, and are enough. One that is down counts: the others go on without it.
func (r *Router) elected() bool {
	srv := r.srv.current.Load()
	if srv == nil {
		return false
	}
	info, err := srv.Jsz(nil)
	return err == nil && info.Meta != nil && info.Meta.Leader != "" && info.Meta.Size >= historyNodes && srv.JetStreamIsCurrent()
}

// historyNodes counts the history nodes of the mesh, this one included.
func (r *Router) historyNodes() int {
	n, _ := r.gather.roster.historyNodes()
	if r.self.historyNode {
		n++
	}
	return n
}

// watchHistory tells the operator, again and again, of a mesh that has not
// three history nodes. It says only what it has seen twice: a node that is
// started again is no fault.
func (r *Router) watchHistory(ctx context.Context) {
	if !r.opts.mesh() || r.opts.History == nil {
		return
	}
	last := historyNodes
	for wait(ctx, historyCheck*r.opts.HeartbeatInterval) {
		n := r.historyNodes()
		switch {
		case n == historyNodes, n == 0 && last == 0:
		case n == 0:
			r.log.Warn("the mesh has no history nodes: nothing is stored")
		case n == last:
			r.log.Error("the mesh has a wrong number of history nodes", "known", n, "needed", historyNodes)
		}
		last = n
	}
}
