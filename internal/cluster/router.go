package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// Sink takes what comes for this node, and counts it.
type Sink interface {
	// Deliver takes a message. It must not block. Messages for one target come
	// one after the other; for different targets, calls overlap.
	Deliver(m *message.Message)
	// Doubt says that stored messages for t, or for any target if t is zero, may
	// have been lost on the way here. It must not block.
	Doubt(t address.Target)
	// Totals counts this node, quickly.
	Totals() stats.Totals
	// Local counts this node in detail.
	Local(q stats.Query) stats.Local
}

// ErrNameTaken says that another live node has the name.
var ErrNameTaken = errors.New("another node has this name")

// Router is a node's way to the cluster. All methods may be called
// concurrently.
type Router struct {
	// Set once.
	opts     Options
	log      *slog.Logger
	self     identity
	srv      *embedded // nil with an external NATS
	conn     *conn
	interest *interest
	pub      *publisher
	lanes    *lanes
	history  *store // nil: none
	talk     *talk
	gather   *gatherer
	receipts *receipts
	metrics  *metrics

	// Each ends one group of goroutines.
	stopBeats, stopInterest    context.CancelFunc
	stopReader                 chan struct{}
	beats, batcher, publishing sync.WaitGroup
	receiving                  sync.WaitGroup

	closing sync.Once
}

// Start joins the cluster. It returns when NATS is connected and this node can
// publish and receive; an external NATS that does not answer is an error. ctx
// bounds the start only.
func Start(ctx context.Context, o Options, s Sink) (*Router, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("cluster options: %w", err)
	}
	r := newRouter(o)
	roster := newRoster(r.self, o, r.metrics, r.log)
	if o.NATSURL == "" {
		srv, err := startEmbedded(ctx, o, newNATSLog(r.log, o.NodeName, roster.refused))
		if err != nil {
			return nil, err
		}
		r.srv = srv
	}
	if err := r.connect(ctx, s); err != nil {
		r.stopServer(ctx)
		return nil, err
	}
	r.build(s, roster)
	r.run()
	if err := r.join(ctx, roster); err != nil {
		// The context may be done; what is left to do takes no time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.PublishTimeout)
		defer cancel()
		return nil, errors.Join(err, r.Close(ctx))
	}
	r.history.awaitUp(ctx)
	return r, nil
}

func newRouter(o Options) *Router {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	self := identity{
		node:        o.NodeName,
		incarnation: rand.Uint64(), //nolint:gosec // It tells runs apart, no more.
		version:     o.Version,
		started:     time.Now(),
		historyNode: o.mesh() && o.stores(),
	}
	if o.History != nil {
		self.historyRules = o.History.Rules.Hash()
	}
	return &Router{
		opts:       o,
		log:        log,
		self:       self,
		metrics:    newMetrics(o.Registerer),
		stopReader: make(chan struct{}),
	}
}

// connect dials NATS, twice if there is a history. Events are passed on to what
// does not exist before there is a connection.
func (r *Router) connect(ctx context.Context, s Sink) error {
	built := make(chan struct{})
	c, err := dial(r.opts, r.srv, connEvents{
		down: func() { <-built; r.interest.linkDown() },
		up: func() {
			<-built
			r.interest.linkUp()
			r.history.reconnected()
		},
	}, r.metrics, r.log)
	if err != nil {
		return err
	}
	r.conn = c
	r.interest = newInterest(c, r.opts, r.metrics, r.log)
	r.opts.MaxPayload, err = c.payloadLimit(r.opts.MaxPayload, r.log)
	if err == nil {
		err = r.settleHistory(ctx)
	}
	if err == nil && r.opts.History != nil {
		r.history, err = openStore(r.opts, r.srv, r.self, s, r.metrics, r.log)
	}
	close(built)
	if err != nil {
		c.close()
	}
	return err
}

func (r *Router) build(s Sink, roster *roster) {
	live := &r.interest.live
	r.pub = newPublisher(r.conn, r.opts, r.self, live, r.metrics)
	r.lanes = newLanes(r.opts, s, r.history, r.metrics)
	r.gather = &gatherer{
		confirmTimeout: r.opts.ConfirmTimeout,
		self:           r.self, out: r.conn, sink: s, roster: roster, live: live, state: r.state,
		next:    r.self.incarnation &^ 1,
		calls:   make(map[uint64]chan report),
		flights: make(map[stats.Query]*flight),
	}
	r.receipts = newReceipts(r.self, r.conn, roster, r.interest.holds, r.opts, r.metrics)
	r.talk = &talk{
		self: r.self, out: r.conn, sink: s, roster: roster, gather: r.gather,
		reports: r.receipts, holds: r.interest.holds,
		every: r.opts.HeartbeatInterval, most: r.opts.MaxPayload, live: live,
		log: r.log, metrics: r.metrics, history: r.history,
		in:      make(chan *nats.Msg, controlDepth),
		queries: make(chan query, queryDepth),
		soon:    make(chan struct{}, 1),
	}
	r.interest.confirm = r.gather.confirm
	if r.history != nil {
		r.history.present = r.HasHistory
	}
	r.talk.state.Store(int32(clusterv1.State_STATE_READY))
}

// run starts all goroutines but the heartbeats. Close ends them.
func (r *Router) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stopInterest = cancel
	r.batcher.Go(func() { r.interest.run(ctx) })
	r.publishing.Go(r.pub.runWriter)
	r.publishing.Go(r.pub.runFlusher)
	r.lanes.start()
	r.history.run()
	rd := &reader{in: r.conn.in, lanes: r.lanes, control: r.talk.in, metrics: r.metrics}
	r.receiving.Go(func() { rd.run(r.stopReader) })
	r.receiving.Go(r.talk.runControl)
	r.receiving.Go(r.talk.runAnswers)
}

// Enqueue hands m over and does not wait for NATS. It never blocks: when the
// bounded queue is full it fails with message.ErrOverloaded, when NATS is away
// with message.ErrUnavailable, and like Publish where m can't be stored. What
// fails later is counted.
func (r *Router) Enqueue(m *message.Message) error {
	stream, stored, err := r.history.takes(m)
	if err != nil {
		return err
	}
	if !stream {
		return r.pub.enqueue(m)
	}
	_, err = r.history.submit(m, stored, func(_ message.Accepted, err error) {
		if err != nil && !errors.Is(err, errExpired) { // which was counted
			r.metrics.drop(dropUnavailable)
		}
	})
	return err
}

// Publish hands m to NATS and returns when NATS has it or, if m is to be stored,
// when it is stored. It fails with message.ErrUnavailable at once when NATS or the
// history is known to be away, and after PublishTimeout when there is no answer;
// then the message may have been delivered. With a key it is safe to publish it
// again. It fails with message.ErrHistoryFull, message.ErrKeyConflict, and with
// message.ErrNotStored for what shall be stored or has a key where there is no
// history.
//
// Where m asks for a receipt it then waits for the nodes, for no longer than m
// says, ctx lasts and the router is open, and returns what is known. It fails
// with message.ErrOverloaded, and publishes nothing, when 4096 receipts are
// waited for. What was published before has no receipt.
func (r *Router) Publish(ctx context.Context, m *message.Message) (message.Accepted, error) {
	if m.Receipt.Level == message.LevelNone {
		return r.send(ctx, m)
	}
	return r.receipts.publish(ctx, m, r.send)
}

// send hands m to NATS and returns when NATS has it or has stored it.
func (r *Router) send(ctx context.Context, m *message.Message) (message.Accepted, error) {
	stream, stored, err := r.history.takes(m)
	if err != nil {
		return message.Accepted{}, err
	}
	if stream {
		return r.history.publish(ctx, m, stored)
	}
	if err := r.pub.publish(ctx, m); err != nil {
		return message.Accepted{}, err
	}
	return message.Accepted{ID: m.ID}, nil
}

// Acquire counts one local member of t in. True says that interest in t is
// live: what is published from now on, anywhere, is delivered here. Otherwise
// ready is called once, later, by another goroutine: with nil when interest is
// live, with message.ErrUnavailable when NATS is away. After such an error the
// member still counts, and interest goes live when NATS is back. Acquire never
// blocks and may be called under locks that ready takes too. After Close it
// returns false and does not call ready.
func (r *Router) Acquire(t address.Target, ready func(error)) (live bool) {
	return r.interest.acquire(t, ready)
}

// Release counts one local member of t out. After the last, interest lingers.
// It never blocks.
func (r *Router) Release(t address.Target) { r.interest.release(t) }

// Ready reports whether NATS is connected and has all interest of this node.
func (r *Router) Ready() bool { return r.interest.live.Load() }

// Stats sums the figures of all nodes that answer within 500 ms. Unless fresh,
// the answer may be up to 1 s old. Users are summed over nodes, and so are the
// users and channels of a tenant; Totals.Tenants and Totals.Channels count
// each once unless a node has too many to name. While NATS is away only this
// node is counted and the answer is not complete.
func (r *Router) Stats(ctx context.Context, q stats.Query, fresh bool) (*stats.Cluster, error) {
	return r.gather.stats(ctx, q, fresh)
}

// SetDraining tells the other nodes that this one is about to leave.
func (r *Router) SetDraining() {
	r.talk.state.Store(int32(clusterv1.State_STATE_DRAINING))
	r.talk.beatSoon()
}

func (r *Router) state() stats.State {
	if r.talk.state.Load() == int32(clusterv1.State_STATE_DRAINING) {
		return stats.StateDraining
	}
	return stats.StateReady
}

// ClusterAddr returns where the embedded server takes routes; nil if nowhere.
func (r *Router) ClusterAddr() net.Addr {
	if r.srv == nil || !r.opts.mesh() {
		return nil
	}
	srv := r.srv.current.Load()
	if srv == nil {
		return nil
	}
	return srv.ClusterAddr()
}
