package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/address"
)

// laneBytes bounds what waits in one lane.
const laneBytes = 64 << 20

// lanes deliver messages to the sink. A subject always takes the same lane, so
// its order holds.
type lanes struct {
	sink    Sink
	metrics *metrics
	history *store // nil: none
	now     func() time.Time
	lanes   []*lane
	wg      sync.WaitGroup
}

type lane struct {
	queue chan arrival
	bytes atomic.Int64
}

// arrival is what NATS brought, and the epoch when it came: what still waits when
// another one begins is of the old one, and its offset means nothing in the new.
type arrival struct {
	msg   *nats.Msg
	epoch string
}

func newLanes(o Options, sink Sink, history *store, m *metrics) *lanes {
	l := &lanes{sink: sink, metrics: m, history: history, now: time.Now, lanes: make([]*lane, o.Lanes)}
	for n := range l.lanes {
		l.lanes[n] = &lane{queue: make(chan arrival, o.LaneDepth)}
	}
	return l
}

// start starts one goroutine per lane. They end after close.
func (l *lanes) start() {
	for _, ln := range l.lanes {
		l.wg.Go(func() { l.run(ln) })
	}
}

// put hands msg to its lane, or drops it. Only the reader calls it.
func (l *lanes) put(kind address.Kind, msg *nats.Msg) {
	l.metrics.received[kind].Inc()
	ln := l.lanes[xxhash.Sum64String(msg.Subject)%uint64(len(l.lanes))]
	size := int64(len(msg.Data))
	if queued := ln.bytes.Load(); queued > 0 && queued+size > laneBytes {
		l.dropped(msg)
		return
	}
	ln.bytes.Add(size)
	select {
	case ln.queue <- arrival{msg, l.history.epochID()}:
	default:
		ln.bytes.Add(-size)
		l.dropped(msg)
	}
}

// dropped counts msg. What was stored is not lost yet: the sink can read it.
func (l *lanes) dropped(msg *nats.Msg) {
	l.metrics.drop(dropLaneFull)
	if t, ok := parseCopySubject(msg.Subject); ok {
		l.sink.Doubt(t)
	}
}

// close ends the lanes when they have delivered what waits. Only the reader
// calls it, after its last put.
func (l *lanes) close() {
	for _, ln := range l.lanes {
		close(ln.queue)
	}
}

func (l *lanes) run(ln *lane) {
	var o opener
	for a := range ln.queue {
		ln.bytes.Add(-int64(len(a.msg.Data)))
		m, err := o.openMessage(a.msg, l.history.epochOf(a.msg, a.epoch), l.now())
		if err != nil {
			l.metrics.drop(dropReason(err))
			continue
		}
		l.history.noteCopy(m.Position)
		l.sink.Deliver(m)
	}
}

// reader takes everything that NATS brings: messages go to the lanes, talk
// between nodes to control. It never blocks, so that the NATS client need not
// drop anything.
type reader struct {
	in      <-chan *nats.Msg
	lanes   *lanes
	control chan<- *nats.Msg
	metrics *metrics
}

// run ends when stop is closed and nothing is left in the channel.
func (r *reader) run(stop <-chan struct{}) {
	defer close(r.control)
	defer r.lanes.close()
	for {
		select {
		case msg := <-r.in:
			r.route(msg)
			continue
		case <-stop:
		}
		for {
			select {
			case msg := <-r.in:
				r.route(msg)
				continue
			default:
			}
			return
		}
	}
}

func (r *reader) route(msg *nats.Msg) {
	if kind := subjectKind(msg.Subject); kind != 0 {
		r.lanes.put(kind, msg)
		return
	}
	select {
	case r.control <- msg:
	default:
		r.metrics.drop(dropControlFull)
	}
}
