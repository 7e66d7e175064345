package edge

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/edge/registry"
	"github.com/aegisx/pushd/internal/message"
)

// maxLoops is the width of the directory's bit mask.
const maxLoops = 64

// Hub owns the loops and knows which of them hold receivers of a target. It is
// what the cluster delivers to. All methods may be called concurrently.
type Hub struct {
	// set once
	opts      Options
	log       *slog.Logger
	metrics   *metrics
	loops     []*loop
	directory *registry.Directory
	rate      rate
	start     time.Time
	seed      maphash.Seed
	// compressor is nil when compression is off.
	compressor *frame.Compressor
	// ping is the server ping that all connections share.
	ping *frame.Frame
	// bus and history are set by NewServer, before the first connection; history
	// may be nil.
	bus     Bus
	history History
	feeds   *feeds

	// reads are those that clients ask for.
	reads *clientReads

	// reporter is set by NewServer too, but messages may come before.
	reporter atomic.Pointer[Reporter]
	receipts openReceipts

	running     sync.WaitGroup
	stopMemory  chan struct{}
	memoryLevel atomic.Int32
	connections atomic.Int64
	nextLoop    atomic.Uint64
}

// NewHub starts the loops. The caller ends them with Close.
func NewHub(o Options) (*Hub, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("edge options: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NewDriver == nil {
		o.NewDriver = poll.New
	}
	h := &Hub{
		opts:       o,
		log:        o.Logger,
		metrics:    newMetrics(o.Registerer),
		directory:  registry.NewDirectory(),
		rate:       newRate(o.InboundRate, o.InboundBurst),
		start:      time.Now(),
		stopMemory: make(chan struct{}),
		seed:       maphash.MakeSeed(),
		ping:       frame.Ping(nil),
		reads:      newClientReads(),
	}
	h.feeds = newFeeds(h)
	if o.CompressionThreshold > 0 {
		h.compressor = frame.NewCompressor(o.CompressionThreshold)
	}
	for i := range o.Loops {
		l, err := newLoop(h, i)
		if err != nil {
			h.closeDrivers()
			return nil, fmt.Errorf("edge loop: %w", err)
		}
		h.loops = append(h.loops, l)
	}
	for _, l := range h.loops {
		h.running.Go(l.run)
	}
	if limit := memoryLimit(); limit > 0 {
		h.running.Go(func() { h.watchMemory(limit, memoryInUse(), runtime.GC, h.stopMemory) })
	}
	return h, nil
}

// Close ends the loops and waits for them. Connections must be gone by then:
// see Server.Drain.
func (h *Hub) Close() {
	close(h.stopMemory)
	h.reads.close()
	h.feeds.close()
	for _, l := range h.loops {
		close(l.stop)
	}
	h.running.Wait()
	for _, l := range h.loops {
		l.drain() // joins that wait give back what they hold
	}
	h.receipts.close()
	h.closeDrivers()
}

func (h *Hub) closeDrivers() {
	for _, l := range h.loops {
		l.driver.Close()
	}
}

// awaitSockets waits until every connection is gone. None may come meanwhile.
func (h *Hub) awaitSockets() {
	for _, l := range h.loops {
		l.driver.Wait()
	}
}

// Deliver hands m to every loop that holds a receiver. It never blocks; a loop
// whose inbox is full drops m and counts it.
//
// A stored message must be delivered after all that were stored before it for
// the same target and are delivered at all; one that is missing is read.
func (h *Hub) Deliver(m *message.Message) {
	if !m.Position.IsZero() {
		h.feeds.deliver(m)
		return
	}
	h.stir(m.Target, h.put(m))
}

// put puts m into the inbox of every loop that holds a receiver.
func (h *Hub) put(m *message.Message) stirs {
	mask := h.receivers(m.Target)
	r := h.openReceipt(m, mask)
	if mask == 0 {
		return stirs{}
	}
	d := h.delivery(newEvent(m))
	d.receipt = r
	d.offsets = d.stored && m.Target.Kind() == address.KindChannel && (h.history == nil || !h.history.Keeps(m.Target))
	s := stirs{linger: d.linger}
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		if waited, ok := h.loops[i].put(&d); ok {
			s.add(i, waited)
		}
	}
	return s
}

// delivery returns e on its way to all members of its target.
func (h *Hub) delivery(e *event) delivery {
	m := e.message
	return delivery{
		target:           m.Target,
		notificationType: m.NotificationType,
		exclude:          m.Exclude,
		deadline:         m.Deadline,
		event:            e,
		stored:           !m.Position.IsZero(),
		linger:           h.linger(m.Target),
	}
}

// linger returns how long a message for t may wait for others.
func (h *Hub) linger(t address.Target) time.Duration {
	if len(h.opts.Lingers) == 0 || t.Kind() != address.KindChannel {
		return 0
	}
	for _, l := range h.opts.Lingers {
		if l.Channels.Match(t.Channel()) {
			return l.Delay
		}
	}
	return 0
}

// receivers returns the loops that may hold a receiver of t, as a bit mask.
func (h *Hub) receivers(t address.Target) uint64 {
	if t.Kind() == address.KindAll {
		return ^uint64(0) >> (maxLoops - len(h.loops))
	}
	return h.directory.Loops(t)
}

// loopFor returns the loop of a new connection: one loop for all connections
// of a user, the next in turn for anonymous ones.
func (h *Hub) loopFor(user address.Target) *loop {
	if user.IsZero() {
		return h.loops[h.nextLoop.Add(1)%uint64(len(h.loops))]
	}
	return h.loops[maphash.Comparable(h.seed, user)%uint64(len(h.loops))]
}

// since returns the time since the hub's start, the clock of all timers.
func (h *Hub) since(t time.Time) time.Duration { return t.Sub(h.start) }
