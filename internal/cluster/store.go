package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// verifiers is how many goroutines look at doubtful answers.
const verifiers = 4

// store is the node's way to the streams. A nil store is a node without history.
type store struct {
	// Set once.
	opts    *HistoryOptions
	most    history.Limit
	maxAge  time.Duration // of the stream
	sealer  sealer
	timeout time.Duration
	limit   int // of a payload
	sink    Sink
	asker   *asker
	js      jetstream.JetStream
	log     *slog.Logger
	metrics *metrics
	queue   chan *put
	verify  chan doubtful
	kick    chan struct{} // capacity 1: the keeper shall check now
	drained chan struct{} // closed when nothing is in flight after close

	// present says that there is a history at all, in the mode of this node. In a
	// mesh it may turn true.
	present func() bool

	stored, keys destination
	shares       shares // of the clients, in keys
	// record remembers whether the record of the epoch can be written.
	record breaker
	// mender is nil but on a lone node.
	mender *mender

	epoch atomic.Pointer[epoch] // nil: not known yet
	// replicas is on how many servers the stream is.
	replicas atomic.Int32
	// doubt says that the sink is to be told after the next check that works.
	doubt atomic.Bool
	// heard is when another epoch was last heard of, in Unix nanoseconds.
	heard atomic.Int64

	// checking is held during a check.
	checking sync.Mutex

	// Guarded by mu.
	mu            sync.Mutex
	closed        bool
	inFlight      int
	inFlightBytes int64

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// openStore connects. The streams are made later, by the keeper.
func openStore(o Options, srv *embedded, self identity, s Sink, m *metrics, log *slog.Logger) (*store, error) {
	st := &store{
		opts:    o.History,
		most:    o.History.most(),
		sealer:  sealer{self: self},
		timeout: o.PublishTimeout,
		limit:   o.MaxPayload,
		sink:    s,
		log:     log,
		metrics: m,
		queue:   make(chan *put, putMessages),
		verify:  make(chan doubtful, putMessages),
		kick:    make(chan struct{}, 1),
		drained: make(chan struct{}),
		stored:  destination{name: streamHistory},
		keys:    destination{name: streamKeys},
	}
	st.maxAge = max(st.most.Age, keyWindow)
	if srv != nil && o.alone() {
		st.mender = newMender(srv, m, log)
	}
	var err error
	st.asker, err = dialAsker(o, srv, func() {
		st.tryAgain()
		st.recheck(true)
	}, log)
	if err != nil {
		return nil, err
	}
	if st.js, err = jetstream.New(st.asker.nc, jetstream.WithDefaultTimeout(o.PublishTimeout)); err == nil {
		err = st.asker.hear(subjectEpochCopied)
	}
	if err == nil {
		err = st.asker.hear(subjectAdvisories)
	}
	if err != nil {
		st.asker.close()
		return nil, fmt.Errorf("history: %w", err)
	}
	return st, nil
}

// subjectAdvisories is where JetStream tells that the stream has a new leader, or
// was made, deleted or restored.
const subjectAdvisories = "$JS.EVENT.ADVISORY.STREAM.*." + streamHistory

// run starts the goroutines. close ends them.
func (s *store) run() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.asker.wg.Go(func() { s.asker.run(s.told) })
	s.wg.Go(func() { s.runKeeper(ctx) })
	s.wg.Go(func() { s.runPuts(ctx) })
	for range verifiers {
		s.wg.Go(func() { s.runVerify(ctx) })
	}
}

// reconnected says that live copies may have been missed.
func (s *store) reconnected() {
	if s != nil {
		s.recheck(true)
	}
}

// told takes what the streams tell without being asked.
func (s *store) told(msg *nats.Msg) {
	switch {
	case msg.Subject == subjectEpochCopied:
		// Only the stream makes this, but it is looked up all the same.
		s.recheck(false)
	case strings.HasPrefix(msg.Subject, "$JS.EVENT."):
		s.recheck(true)
	}
}

// startPatience bounds how long a node waits at its start for the history.
const startPatience = 10 * time.Second

// awaitUp waits until messages can be stored.
func (s *store) awaitUp(ctx context.Context) {
	if !s.here() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(s.timeout, startPatience))
	defer cancel()
	for s.epoch.Load() == nil {
		if !wait(ctx, 2*time.Millisecond) {
			s.log.Warn("the history is not there yet")
			return
		}
	}
}

// close lets no more messages in, waits for those in flight as long as ctx
// allows, and ends the goroutines.
func (s *store) close(ctx context.Context) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.mu.Lock()
	if s.closed = true; s.inFlight == 0 {
		close(s.drained)
	}
	s.mu.Unlock()
	select {
	case <-s.drained:
	case <-ctx.Done():
	}
	if s.stop == nil {
		s.asker.close()
		return
	}
	if s.epoch.Load() != nil {
		if err := s.check(ctx); err != nil {
			s.log.Debug("the history was not noted at the end", "error", err)
		}
	}
	s.stop()
	// What still waits for an answer of NATS gets none.
	s.asker.nc.Close()
	s.wg.Wait()
	s.asker.close()
	s.failVerify()
}

// failVerify fails what no verifier took.
func (s *store) failVerify() {
	for {
		select {
		case d := <-s.verify:
			d.p.finish(message.Accepted{}, fmt.Errorf("store: %w", message.ErrUnavailable))
		default:
			return
		}
	}
}

// limitOf returns how much is kept for t. What no rule is for is kept like the
// most.
func (s *store) limitOf(t address.Target) history.Limit {
	if l := s.opts.Rules.For(t); !l.IsZero() {
		return l
	}
	return s.most
}

// keeps reports whether a rule stores what is for t.
func (s *store) keeps(t address.Target) bool { return s.here() && !s.opts.Rules.For(t).IsZero() }

// here reports whether there is a history, away or not.
func (s *store) here() bool { return s != nil && s.present() }

// takes decides the way of m: to a stream or not, and to which.
func (s *store) takes(m *message.Message) (stream, stored bool, err error) {
	switch m.Store {
	case message.StoreAlways:
		if !s.here() || storeSubject(m.Target) == "" {
			return false, false, fmt.Errorf("publish: %w", message.ErrNotStored)
		}
		stored = true
	case message.StoreByRule:
		stored = s.keeps(m.Target)
	case message.StoreNever:
	}
	if m.Key != "" && !s.here() {
		// Nobody could say whether it came before.
		return false, false, fmt.Errorf("publish with a key: %w", message.ErrNotStored)
	}
	return stored || m.Key != "", stored, nil
}
