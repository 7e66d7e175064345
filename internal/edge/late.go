package edge

import (
	"math/bits"
	"time"
)

// latePatience is how long live copies may be on their way, after something
// newer was read.
const latePatience = 10 * time.Second

// audience says which members of a feed's target get an event. The zero one is all
// of them.
type audience uint8

const (
	// toFollowers is for those who follow: the others may still get something
	// older, and then this one.
	toFollowers audience = iota + 1
	// toOthers is for those who don't follow, and for those who have begun to since
	// the event was there and asked for nothing older. The rest had it.
	toOthers
)

// others is what a feed knows of the members that don't follow. They get all that
// comes live, in order. What comes and what is read may overtake one another:
// what was stored before the feed began, or is gone from the history and was
// announced as missing, may still be on its way to them.
type others struct {
	// came is the newest offset of all live copies. Copies keep their order, so
	// nothing up to it will come.
	came uint64
	// behind says that something between at, the newest that they had, and upTo may
	// still come.
	behind   bool
	at, upTo uint64
	// owed was read, and given to those who follow, while they are behind. It is in
	// order and bounded like what is held; the first was read at since.
	owed  []*event
	bytes int
	since time.Time
	// gaveUp is upTo when it was not waited for any longer.
	gaveUp uint64
}

// waitFor says that what is missing after at and up to upTo may still come.
func (o *others) waitFor(at, upTo uint64) {
	if upTo <= o.came {
		return
	}
	if !o.behind {
		o.behind, o.at = true, at
	}
	o.upTo = max(o.upTo, upTo)
}

// cameLocked notes a live copy. Those who don't follow get what was read and goes
// before it.
func (f *feed) cameLocked(offset uint64, s *stirs) {
	o := &f.others
	o.came = max(o.came, offset)
	if o.behind && offset > o.upTo {
		f.settleLocked(s)
	}
}

// lateLocked takes a live copy that is not beyond the position. Those who follow
// had it, or were told that it is missing; the others get it if they are behind,
// after what is owed to them before it.
func (f *feed) lateLocked(e *event, s *stirs) {
	offset, o := e.message.Position.Offset, &f.others
	switch {
	case !o.behind:
		if offset <= o.gaveUp {
			f.hub.feeds.loseLate() // they have had newer ones
		}
	case offset > o.at:
		for len(o.owed) > 0 && o.owed[0].message.Position.Offset <= offset {
			first := o.owed[0]
			o.owed[0], o.owed = nil, o.owed[1:]
			o.bytes -= len(first.message.Payload)
			if first.message.Position.Offset < offset {
				f.giveOthersLocked(first, s)
			}
		}
		f.giveOthersLocked(e, s)
		if o.at = offset; offset == o.upTo {
			f.settleLocked(s)
		}
	}
}

// oldLocked takes what is of the epoch before this one. While those who don't
// follow are behind, they have had nothing newer.
func (f *feed) oldLocked(e *event, s *stirs) {
	switch {
	case e.message.Position.Offset <= f.before.Offset: // most were handed over
	case !f.others.behind:
		f.hub.feeds.loseLate()
	default:
		f.giveOthersLocked(e, s)
	}
}

// oweLocked keeps e, which was read, for those who don't follow.
func (f *feed) oweLocked(e *event, s *stirs) {
	o := &f.others
	if len(o.owed) == 0 {
		o.since = time.Now()
		f.attendLocked()
	}
	o.owed = append(o.owed, e)
	o.bytes += len(e.message.Payload)
	if len(o.owed) >= heldMessages || o.bytes > heldBytes || !f.hub.feeds.hasRoom() {
		f.giveUpLateLocked(s)
	}
}

// loseLate counts a copy that came too late for those who don't follow.
func (t *feeds) loseLate() {
	t.late.Add(1)
	t.hub.metrics.dropped(dropLate, 1)
}

// giveUpLateLocked waits no longer for what may still come.
func (f *feed) giveUpLateLocked(s *stirs) {
	f.others.gaveUp = f.others.upTo
	f.settleLocked(s)
}

// settleLocked gives those who don't follow what was read meanwhile: nothing
// older will come.
func (f *feed) settleLocked(s *stirs) {
	o := f.others
	f.others = others{came: o.came, gaveUp: o.gaveUp}
	for _, e := range o.owed {
		f.giveOthersLocked(e, s)
	}
}

// giveOthersLocked puts e into the inboxes for those who have not had it.
func (f *feed) giveOthersLocked(e *event, s *stirs) {
	mask := f.receiversLocked()
	d := f.delivery(e)
	d.to = toOthers
	d.receipt = f.hub.openReceipt(e.message, mask)
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		if waited, ok := f.hub.loops[i].put(&d); ok {
			s.add(i, waited)
		}
	}
}
