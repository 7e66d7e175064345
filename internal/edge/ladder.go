package edge

import (
	"cmp"
	"math"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"slices"
	"time"
)

// memoryLevel is a step of the ladder that a node climbs as its memory fills.
// Each keeps what those before it do.
type memoryLevel int32

const (
	// memoryGood: all is well.
	memoryGood memoryLevel = iota
	// memoryTight, from 70 % of the limit: messages are no longer compressed.
	memoryTight
	// memoryScarce, from 80 %: new connections get 503, and if that goes on, those
	// that hold much are closed.
	memoryScarce
	// memoryCritical, from 90 %: those that hold most are closed.
	memoryCritical
)

const (
	// memoryCheck is how often memory is looked at.
	memoryCheck = 250 * time.Millisecond
	// memoryRelief is how far below a step memory must fall to leave it, as a
	// share of the limit.
	memoryRelief = 0.05
	// maxReadingAge is how old a reading may get while memory is scarce.
	maxReadingAge = time.Second
	// evictShare is the share of the connections that are closed in one cycle of
	// the collector, at least one.
	evictShare = 0.01
	// refusalPatience is for how long newcomers are refused before others are
	// closed for them. Without it, clients that keep memory between two steps
	// would keep newcomers out for ever.
	refusalPatience = 5 * time.Second
	// muchHeld is what a connection holds, in bytes, that is closed for that.
	muchHeld = 64 << 10
)

// begins returns the share of the limit from which l holds.
func (l memoryLevel) begins() float64 {
	return [...]float64{memoryGood: 0, memoryTight: 0.70, memoryScarce: 0.80, memoryCritical: 0.90}[l]
}

// next returns the level after l when share of the limit is in use. It goes up
// at once, and down one step at a time.
func (l memoryLevel) next(share float64) memoryLevel {
	for l < memoryCritical && share >= (l+1).begins() {
		l++
	}
	if l > memoryGood && share < l.begins()-memoryRelief {
		l--
	}
	return l
}

// memoryLimit returns the limit that the runtime keeps to (GOMEMLIMIT), or 0
// when there is none.
func memoryLimit() uint64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	return uint64(limit) //nolint:gosec // It is not negative.
}

// memoryReading is how much memory is in use: what the next garbage collection
// could not free.
type memoryReading struct {
	// bytes are live objects, as of the last collection, and stacks.
	bytes uint64
	// cycle counts the collections. In the same cycle nothing that was given up
	// is seen.
	cycle uint64
}

// memoryInUse returns a function that reads what the runtime counts.
func memoryInUse() func() memoryReading {
	samples := []runtimemetrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	return func() memoryReading {
		runtimemetrics.Read(samples)
		var values [3]uint64
		for i, s := range samples {
			if s.Value.Kind() == runtimemetrics.KindUint64 {
				values[i] = s.Value.Uint64()
			}
		}
		return memoryReading{bytes: values[0] + values[1], cycle: values[2]}
	}
}

// watchMemory climbs and leaves the ladder until stop is closed. It closes
// connections at most once in each cycle of the collector and calls collect if
// there were any, so that the next look sees what that freed; and when memory is
// scarce and the reading is old, so that a node that has recovered knows it.
func (h *Hub) watchMemory(limit uint64, inUse func() memoryReading, collect func(), stop <-chan struct{}) {
	ticker := time.NewTicker(memoryCheck)
	defer ticker.Stop()
	last, since := inUse().cycle, time.Now()
	evicted := last - 1 // the cycle in which who holds most was looked for last
	scarce := since     // since when newcomers are refused
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		reading := inUse()
		if reading.cycle != last {
			last, since = reading.cycle, time.Now()
		}
		h.setMemoryLevel(h.memory().next(float64(reading.bytes) / float64(limit)))
		level, least := h.memory(), 1
		switch level {
		case memoryCritical:
		case memoryScarce:
			least = muchHeld
		default:
			scarce = time.Now()
		}
		mayEvict := level == memoryCritical || time.Since(scarce) > refusalPatience
		switch {
		case mayEvict && reading.cycle != evicted:
			evicted = reading.cycle
			if h.evictSlowest(least) > 0 {
				collect()
			}
		case level >= memoryScarce && time.Since(since) > maxReadingAge:
			since = time.Now()
			collect()
		}
	}
}

// memory returns the present level.
func (h *Hub) memory() memoryLevel { return memoryLevel(h.memoryLevel.Load()) }

func (h *Hub) setMemoryLevel(l memoryLevel) {
	before := memoryLevel(h.memoryLevel.Swap(int32(l)))
	if before == l {
		return
	}
	h.log.Warn("memory level changed", "from", int(before), "to", int(l))
	h.metrics.memoryLevel.Set(float64(l))
	if h.compressor != nil {
		h.compressor.SetOff(l >= memoryTight)
	}
}

// evictSlowest ends the connections that hold most, in their queue and in an
// unfinished message of theirs, at least so many bytes, and frees that. It
// returns how many it ended. Those that are open are closed as slow consumers.
// Those that are closing, and have not taken what must go out before the close
// frame, are cut: they would hold it for some seconds more, and others would be
// closed in their stead.
func (h *Hub) evictSlowest(least int) int {
	type holder struct {
		conn  *conn
		bytes int
	}
	var holders []holder
	for _, l := range h.loops {
		l.mu.Lock()
		for _, c := range l.conns {
			if c == nil {
				continue
			}
			if held := c.evictableLocked(); held >= least {
				holders = append(holders, holder{c, held})
			}
		}
		l.mu.Unlock()
	}
	slices.SortFunc(holders, func(a, b holder) int { return cmp.Compare(b.bytes, a.bytes) })
	most := max(1, int(float64(h.connections.Load())*evictShare))
	holders = holders[:min(len(holders), most)]
	for _, held := range holders {
		held.conn.evict()
	}
	return len(holders)
}

// evictableLocked returns how many bytes c holds that ending it frees.
func (c *conn) evictableLocked() int {
	switch {
	case c.state == stateOpen:
		return c.out.waiting() + c.parser.Held()
	case c.state == stateClosing && len(c.out.frames) > 0 && c.out.frames[0].IsMessage():
		return c.out.waiting()
	default:
		return 0
	}
}

// evict ends c, which may have moved on since it was chosen.
func (c *conn) evict() {
	l := c.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.state == stateClosing {
		c.cutLocked()
		return
	}
	c.closeLocked(closeSlowConsumer, closeReason(closeSlowConsumer))
	l.flushLocked()
}
