package edge

import (
	"slices"
	"sort"

	"github.com/aegisx/pushd/internal/history"
)

const (
	// ringMessages and ringBytes bound what a feed keeps for those who come back.
	ringMessages = 64
	ringBytes    = 1 << 20
	// replayMessages bounds what one connection gets of the past at once, and
	// the ring while it is wide.
	replayMessages = 1000
)

// ring holds the newest messages of a feed, oldest first: all those after floor
// and up to the feed's position. It is owned by its feed.
type ring struct {
	// events is only appended to and cut in front, so parts of it may be read
	// without a lock.
	events []*event
	bytes  int
	floor  uint64
	// reason says why nothing before floor can be brought; empty: it may be.
	reason history.Reason
	// wide says that a replay was read: the ring holds as much as one connection
	// may get, for all others that come at that time.
	wide bool
}

// reset forgets all; what is before floor is missing for reason.
func (r *ring) reset(floor uint64, reason history.Reason) {
	*r = ring{floor: floor, reason: reason, wide: r.wide}
}

// push adds the newest message and lets the oldest go, within maxBytes.
func (r *ring) push(e *event, maxBytes int) {
	r.events = append(r.events, e)
	r.bytes += len(e.message.Payload)
	r.trim(maxBytes)
}

// prepend adds what came before floor: all messages after a lower floor. What
// is before that is missing for reason.
func (r *ring) prepend(events []*event, floor uint64, reason history.Reason, maxBytes int) {
	r.events = slices.Concat(events, r.events)
	for _, e := range events {
		r.bytes += len(e.message.Payload)
	}
	r.floor, r.reason = floor, reason
	r.trim(maxBytes)
}

// narrow makes the ring an ordinary one again.
func (r *ring) narrow(maxBytes int) {
	r.wide = false
	r.trim(maxBytes)
	r.events = slices.Clip(slices.Clone(r.events))
}

// trim lets go what is over the bounds, but never the newest message.
func (r *ring) trim(maxBytes int) {
	most, reason := ringMessages, history.Reason("")
	if r.wide {
		most, reason = replayMessages, history.ReasonOverflow
	}
	gone := 0
	for left := len(r.events); left > 1 && (left > most || r.bytes > maxBytes); left-- {
		e := r.events[gone]
		gone++
		r.bytes -= len(e.message.Payload)
		r.floor, r.reason = e.message.Position.Offset, reason
	}
	r.events = r.events[gone:]
}

// after returns the messages after offset. The caller must not change them.
func (r *ring) after(offset uint64) []*event {
	i := sort.Search(len(r.events), func(i int) bool { return r.events[i].message.Position.Offset > offset })
	return r.events[i:len(r.events):len(r.events)]
}
