package edge

const (
	// mostKept bounds what all feeds of a node keep of messages, in bytes. A feed
	// that gets one when there is no room lets go of its ring: who comes back reads
	// the history instead.
	mostKept = 128 << 20
	// eventOverhead is about what an event takes beside its payload and a frame.
	eventOverhead = 512
)

// hasRoom reports whether feeds may keep more. Never takes a lock.
func (t *feeds) hasRoom() bool { return t.kept.Load() < t.most }

// keepLocked counts what f keeps, and lets go of its ring where there is no room
// for it, unless some still wait to be served from it.
func (f *feed) keepLocked() {
	f.countLocked()
	if !f.hub.feeds.hasRoom() && len(f.ring.events) > 0 && len(f.waiting) == 0 {
		f.ring.reset(f.position, "")
		f.countLocked()
	}
}

func (f *feed) countLocked() {
	events := len(f.ring.events) + len(f.held) + len(f.strange) + len(f.others.owed)
	bytes := f.ring.bytes + f.heldBytes + f.strangeBytes + f.others.bytes
	if b := f.backlog; b != nil {
		events, bytes = events+len(b.events), bytes+b.bytes
	}
	// Most events have one frame, which is as large as the payload.
	now := 2*int64(bytes) + eventOverhead*int64(events)
	if now != f.counted {
		f.hub.feeds.kept.Add(now - f.counted)
		f.counted = now
	}
}
