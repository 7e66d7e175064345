package edge

import (
	"fmt"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/edge/registry"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// inboxDepth and inboxBytes bound the deliveries that wait for one loop, and
	// the frames of those. An empty inbox takes a message of any size.
	inboxDepth = 16384
	inboxBytes = 64 << 20
	// writesPerTurn is how many connections are written to before the loop's
	// mutex is given up for a moment, so that a large fan-out does not keep
	// readers waiting.
	writesPerTurn = 256
	// inlineReceivers bounds the fan-out that whoever delivers a message does
	// itself, if the loop is idle, instead of waking the loop's goroutine.
	inlineReceivers = 64
)

// delivery is one message on its way to the members of one target on a loop.
type delivery struct {
	target           address.Target
	event            *event
	notificationType string
	exclude          message.ID
	deadline         time.Time
	// linger is how long it may wait for others.
	linger time.Duration
	// feed is what handed the event over; nil: it comes straight.
	feed *feed
	// turn stands in the place of an event of feed.
	turn *turn
	// receipt is nil unless the publisher wants one.
	receipt *receipt
	// stored says that the event has a position, and offsets that all who know of
	// offsets are told it: their publisher had it kept, nobody can follow it, and
	// so it moves no client on.
	stored, offsets bool
	// to says who of the feed's members gets the event, and everyone that all of
	// them follow it.
	to       audience
	everyone bool
}

// held returns how many bytes d keeps in memory.
func (d *delivery) held() int {
	if d.event == nil {
		return 0
	}
	return len(d.event.message.Payload)
}

// loop owns a share of the connections. Its goroutine drains the inbox and
// looks at the timers; its driver feeds it what the sockets bring, under mu.
type loop struct {
	// set once
	hub    *Hub
	index  int
	driver poll.Driver
	kick   chan struct{} // capacity 1
	// later asks for a drain after some time. Capacity 1: who finds it full has
	// a drain coming that is as soon as its own, or nearly.
	later chan time.Duration
	stop  chan struct{}
	// onOpen says the first words to a connection, and onMessage takes what the
	// current one sends: greetLocked and handleLocked, unless NewEchoServer set
	// others before the first connection. Values that are made once: feeding a
	// parser allocates nothing.
	onOpen    func(*conn)
	onMessage func(frame.Message) error
	// limits hold the clients of this loop, deflateLimits those that have
	// negotiated permessage-deflate.
	limits, deflateLimits frame.Limits

	// calls is what other goroutines want done here.
	calls calls
	// depth is inboxDepth, but in tests.
	depth int

	// inboxMu guards the inbox alone and is never held with anything slow.
	inboxMu sync.Mutex
	inbox   []delivery
	// inboxHeld is how many bytes the frames in the inbox have.
	inboxHeld int
	// inboxDropped counts what found the inbox full.
	inboxDropped uint64

	// mu guards all below and every connection of this loop.
	mu    sync.Mutex
	shard *registry.Shard
	conns []*conn // by slot; nil: free
	free  []uint32
	dirty []*conn // have something to write
	// current is the connection whose bytes are being parsed.
	current *conn
	// now is the time of the event being handled, and clock the same since the
	// start of the hub.
	now   time.Time
	clock time.Duration
	wheel wheel
	spare []delivery // the inbox's other half
	// bufs are the frames of one write.
	bufs [poll.MaxBuffers][]byte

	messagesIn, messagesOut, bytesIn, bytesOut, dropped uint64
}

func newLoop(h *Hub, index int) (*loop, error) {
	l := &loop{
		hub:   h,
		index: index,
		depth: inboxDepth,
		kick:  make(chan struct{}, 1),
		later: make(chan time.Duration, 1),
		stop:  make(chan struct{}),
		shard: registry.NewShard(),
		limits: frame.Limits{
			MaxMessage:   h.opts.MaxMessageBytes,
			MaxFragments: maxFragments,
		},
	}
	l.deflateLimits = l.limits
	l.deflateLimits.Inflater = frame.NewInflater()
	l.onOpen = (*conn).greetLocked
	l.onMessage = l.handleLocked
	driver, err := h.opts.NewDriver(&l.mu)
	if err != nil {
		return nil, fmt.Errorf("socket driver: %w", err)
	}
	l.driver = driver
	return l, nil
}

// run is the loop's goroutine; Hub.Close stops it.
func (l *loop) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	linger := time.NewTimer(maxLinger)
	defer linger.Stop()
	linger.Stop()
	waiting := false // linger runs
	for {
		select {
		case <-l.stop:
			return
		case <-l.kick:
			l.drain()
		case d := <-l.later:
			if !waiting {
				waiting = true
				linger.Reset(d)
			}
		case <-linger.C:
			waiting = false
			l.drain()
		case <-ticker.C:
			l.sweep()
		}
	}
}

func (l *loop) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drainLocked()
}

// tell sets the time of the event being handled. Caller holds mu.
func (l *loop) tell(now time.Time) { l.now, l.clock = now, l.hub.since(now) }

// put queues all of d and returns how many waited before them, or queues none
// and counts the message among them as dropped: false. Whoever puts something
// stirs the loop afterwards.
func (l *loop) put(d ...*delivery) (waited int, ok bool) {
	dropped := 0
	l.inboxMu.Lock()
	waited, held := len(l.inbox), l.inboxHeld
	for _, d := range d {
		held += d.held()
	}
	ok = waited == 0 || waited < l.depth && held <= inboxBytes
	if ok {
		l.inboxHeld = held
	}
	for _, d := range d {
		switch {
		case ok:
			l.inbox = append(l.inbox, *d)
		case d.event != nil:
			dropped++
		}
	}
	l.inboxDropped += uint64(dropped)
	l.inboxMu.Unlock()
	if dropped > 0 {
		l.hub.metrics.dropped(dropInboxFull, dropped)
	}
	return waited, ok
}

// putAnyway is put for turns, which a full inbox takes too: a connection waits
// for only so many, and gaps are few.
func (l *loop) putAnyway(d *delivery) {
	l.inboxMu.Lock()
	defer l.inboxMu.Unlock()
	l.inbox = append(l.inbox, *d)
}

// stir sees to it that what was put for t is delivered: by the loop's
// goroutine, or, where nothing else waited and the receivers are few, here.
// Never blocks.
func (l *loop) stir(t address.Target, idle bool, linger time.Duration) {
	switch {
	case linger > 0:
		select {
		case l.later <- linger:
		default:
		}
	case idle && l.tryDrain(t):
	default:
		l.wake()
	}
}

// wake has the loop's goroutine drain the inbox.
func (l *loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default: // a drain is due anyway
	}
}

// tryDrain drains the inbox unless somebody is at work on this loop, or t has
// many members. What is put there meanwhile wakes the loop's goroutine.
func (l *loop) tryDrain(t address.Target) bool {
	if t.Kind() == address.KindAll || !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.shard.Count(t) > inlineReceivers {
		return false
	}
	l.drainLocked()
	return true
}

// drainLocked takes the whole inbox, queues each message at its receivers, and
// then writes to each of them once.
func (l *loop) drainLocked() {
	l.inboxMu.Lock()
	batch := l.inbox
	l.inbox, l.inboxHeld = l.spare[:0], 0
	l.inboxMu.Unlock()

	l.tell(time.Now())
	l.callLocked()
	for i := range batch {
		l.fanOutLocked(&batch[i])
	}
	clear(batch)
	l.spare = batch[:0]
	l.flushLocked()
}

// fanOutLocked queues d at every member of its target.
func (l *loop) fanOutLocked(d *delivery) {
	switch {
	case d.turn != nil:
		l.takeTurnLocked(d.feed, d.turn)
		return
	case d.receipt != nil:
		l.fanOutTrackedLocked(d)
		return
	}
	if !d.deadline.IsZero() && l.now.After(d.deadline) {
		l.lose(dropExpired, 1)
		return
	}
	if d.target.Kind() == address.KindAll {
		for _, c := range l.conns {
			if c != nil {
				l.deliverLocked(c, d)
			}
		}
		return
	}
	if d.feed != nil {
		d.everyone = int(d.feed.shares[l.index].followers) == l.shard.Count(d.target)
	}
	l.shard.Members(d.target, func(slot uint32) { l.deliverLocked(l.conns[slot], d) })
}

// deliverLocked queues d at c unless c must not have it.
func (l *loop) deliverLocked(c *conn, d *delivery) {
	if c.state != stateOpen || c.id == d.exclude {
		return
	}
	if d.notificationType != "" && !c.wants(d.notificationType) {
		return
	}
	if f, ok := c.frameLocked(d); ok {
		l.messagesOut++
		c.sendLocked(f)
	}
}

// frameLocked returns the message of d as c gets it; false: c had it, or will get
// it in another way.
func (c *conn) frameLocked(d *delivery) (f *frame.Frame, ok bool) {
	follows := false
	if d.stored {
		if follows, ok = c.takesLocked(d); !ok {
			return nil, false
		}
	}
	return d.event.frame(c.dialect, follows || d.offsets), true
}

// markDirty puts c on the list of connections to write to.
func (l *loop) markDirty(c *conn) {
	if c.dirty || c.blocked {
		return
	}
	c.dirty = true
	l.dirty = append(l.dirty, c)
}

// flushLocked writes to every dirty connection. It gives up the mutex every
// writesPerTurn writes; whoever takes it meanwhile works on the same list.
func (l *loop) flushLocked() {
	for n := 1; len(l.dirty) > 0; n++ {
		last := len(l.dirty) - 1
		c := l.dirty[last]
		l.dirty[last] = nil
		l.dirty = l.dirty[:last]
		c.dirty = false
		c.flushLocked()
		if n%writesPerTurn == 0 {
			l.mu.Unlock()
			l.mu.Lock()
		}
	}
}

// sweep looks at the timers that are due.
func (l *loop) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(time.Now())
	l.wheel.advance(l.clock, func(slot, due uint32) {
		if c := l.conns[slot]; c != nil && c.due == due {
			c.sweepLocked()
		}
	})
	l.flushLocked()
}

// closeAllLocked ends every connection with code.
func (l *loop) closeAllLocked(code ws.StatusCode) {
	for _, c := range l.conns {
		if c != nil {
			c.closeLocked(code, closeReason(code))
		}
	}
	l.flushLocked()
}

// slotLocked finds a place for c.
func (l *loop) slotLocked(c *conn) uint32 {
	if last := len(l.free) - 1; last >= 0 {
		slot := l.free[last]
		l.free = l.free[:last]
		l.conns[slot] = c
		return slot
	}
	l.conns = append(l.conns, c)
	return uint32(len(l.conns) - 1) //nolint:gosec // Far fewer connections than that.
}

// joinLocked makes c a member of t. The caller holds one reference of interest
// in t for it, which is given back here if c was a member already.
func (l *loop) joinLocked(c *conn, t address.Target) {
	joined, first := l.shard.Join(c.slot, t)
	if first {
		l.hub.directory.Add(t, l.index)
	}
	if !joined {
		l.hub.bus.Release(t)
	}
}

// lose counts messages that are given up on their way to connections. Caller
// holds mu.
func (l *loop) lose(reason string, messages int) {
	if messages > 0 {
		l.dropped += uint64(messages)
		l.hub.metrics.dropped(reason, messages)
	}
}

// releaseLocked is told of every membership that ended.
func (l *loop) releaseLocked(t address.Target, last bool) {
	if last {
		l.hub.directory.Remove(t, l.index)
	}
	l.hub.bus.Release(t)
}
