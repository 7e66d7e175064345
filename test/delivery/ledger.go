package delivery

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// maxFaults bounds the faults that are kept: the first ones say most.
const maxFaults = 20

// Feed names a channel of a tenant.
type Feed struct{ Tenant, Channel string }

// Ledger knows which messages were accepted, and where they stand. Safe for
// concurrent use.
type Ledger struct {
	mu       sync.Mutex
	accepted map[Feed]map[int]uint64 // number → offset
	last     map[Feed]int
	faults   []string
	found    chan struct{} // closed with the first fault
	// disorder says that what a publisher sent one after the other need not be
	// stored in that order.
	disorder bool
}

// Disorder says that something was sent again: it may be stored after what was
// sent after it.
func (l *Ledger) Disorder() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disorder = true
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{accepted: make(map[Feed]map[int]uint64), last: make(map[Feed]int), found: make(chan struct{})}
}

// Found is closed when there is a fault.
func (l *Ledger) Found() <-chan struct{} { return l.found }

// Faults returns what was found, the first ones.
func (l *Ledger) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.faults)
}

// Fault notes one.
func (l *Ledger) Fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faultLocked(format, args...)
}

func (l *Ledger) faultLocked(format string, args ...any) {
	if len(l.faults) == 0 {
		close(l.found)
	}
	if len(l.faults) < maxFaults {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// Accept notes the answer to a publisher: message number n of f, counted from 1,
// stands at offset.
func (l *Ledger) Accept(f Feed, n int, offset uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset == 0 {
		l.faultLocked("%v: message %d was accepted without an offset", f, n)
		return
	}
	all := l.accepted[f]
	if all == nil {
		all = make(map[int]uint64)
		l.accepted[f] = all
	}
	if before, ok := all[n]; ok && before != offset {
		l.faultLocked("%v: message %d was accepted at %d and at %d", f, n, before, offset)
	}
	if before := l.last[f]; !l.disorder && before < n && all[before] >= offset {
		l.faultLocked("%v: message %d at %d comes before message %d at %d", f, n, offset, before, all[before])
	}
	all[n] = offset
	l.last[f] = max(l.last[f], n)
}

// Accepted counts the messages of all feeds.
func (l *Ledger) Accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for _, all := range l.accepted {
		total += len(all)
	}
	return total
}

// span is what a gap leaves out: offsets over from, up to to.
type span struct{ from, to uint64 }

// Track is what one client saw of one feed, over all its connections. It is not
// safe for concurrent use.
type Track struct {
	ledger *Ledger
	who    string
	feed   Feed
	joined bool
	// start is the offset at the first join: what comes after it must be seen.
	start uint64
	// position is the offset from which to resume.
	position uint64
	got      map[uint64]int // offset → number
	// early holds the numbers that came without an offset, and on which connection.
	early      map[int]int
	connection int
	gaps       []span
	skipped    int
}

// Track returns an empty track of a client.
func (l *Ledger) Track(who string, f Feed) *Track {
	return &Track{ledger: l, who: who, feed: f, got: make(map[uint64]int), early: make(map[int]int), connection: 1}
}

// Resume returns the offset to resume from; ok is false before the first join.
func (t *Track) Resume() (offset uint64, ok bool) { return t.position, t.joined }

// Received counts what came.
func (t *Track) Received() int { return len(t.got) + len(t.early) }

// Gaps counts the gaps that were announced.
func (t *Track) Gaps() int { return len(t.gaps) }

// Join notes the first join: the server's offset is where the track begins.
func (t *Track) Join(offset uint64) {
	t.joined, t.start, t.position = true, offset, offset
}

// Gap notes an announced gap.
func (t *Track) Gap(from, to uint64) {
	if to < from || from > t.position {
		t.ledger.Fault("%s: %v: a gap of (%d, %d] at position %d", t.who, t.feed, from, to, t.position)
	}
	t.gaps = append(t.gaps, span{from, to})
	t.position = max(t.position, to)
}

// Message notes a message: number n of the feed that its text names.
func (t *Track) Message(f Feed, n int, offset uint64) {
	if f != t.feed {
		t.ledger.Fault("%s: foreign: message %d of %v came to %v", t.who, n, f, t.feed)
		return
	}
	if t.early[n] == t.connection {
		t.ledger.Fault("%s: %v: duplicated: message %d came early and at %d", t.who, t.feed, n, offset)
	}
	before, again := t.got[offset]
	switch {
	case again && before == n:
		t.ledger.Fault("%s: %v: duplicated: message %d at %d came twice", t.who, t.feed, n, offset)
	case again:
		t.ledger.Fault("%s: %v: offset %d is that of message %d and of message %d", t.who, t.feed, offset, before, n)
	case offset <= t.position:
		t.ledger.Fault("%s: %v: reordered: message %d at %d came at position %d", t.who, t.feed, n, offset, t.position)
	}
	t.got[offset] = n
	t.position = max(t.position, offset)
}

// Reconnect begins another connection. What came early on the one before, which
// ended before the client could say where it stands, may come again.
func (t *Track) Reconnect() { t.connection++ }

// Early notes a message without an offset: it came before the client said where
// it stands. It must not come again on this connection.
func (t *Track) Early(f Feed, n int) {
	switch {
	case f != t.feed:
		t.ledger.Fault("%s: foreign: message %d of %v came to %v", t.who, n, f, t.feed)
	case t.early[n] == t.connection:
		t.ledger.Fault("%s: %v: duplicated: message %d came early, twice", t.who, t.feed, n)
	}
	t.early[n] = t.connection
}

// Complete reports whether the last message that was accepted, and did not come
// early, has come or is inside a gap.
func (t *Track) Complete() bool {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	for n, offset := range t.ledger.accepted[t.feed] {
		if offset > t.position && t.early[n] == 0 {
			return false
		}
	}
	return true
}

// Finish compares the track with what was accepted. Every publisher has its
// answers by now.
func (t *Track) Finish() {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	type place struct {
		n      int
		offset uint64
	}
	var all []place
	for n, offset := range t.ledger.accepted[t.feed] {
		all = append(all, place{n, offset})
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.offset, b.offset) })
	for _, p := range all {
		n, ok := t.got[p.offset]
		switch {
		case ok && n != p.n:
			t.ledger.faultLocked("%s: %v: message %d came with the offset %d of message %d", t.who, t.feed, n, p.offset, p.n)
		case ok || t.early[p.n] > 0 || p.offset <= t.start:
		case t.announced(p.offset):
			t.skipped++
		default:
			t.ledger.faultLocked("%s: %v: lost: message %d at %d (began at %d, position %d)", t.who, t.feed, p.n, p.offset, t.start, t.position)
		}
	}
	for offset, n := range t.got {
		if t.ledger.accepted[t.feed][n] != offset {
			t.ledger.faultLocked("%s: %v: message %d came at %d, and was accepted at %d", t.who, t.feed, n, offset, t.ledger.accepted[t.feed][n])
		}
	}
}

// Skipped counts, after Finish, the messages that are missing inside announced
// gaps.
func (t *Track) Skipped() int { return t.skipped }

func (t *Track) announced(offset uint64) bool {
	return slices.ContainsFunc(t.gaps, func(g span) bool { return g.from < offset && offset <= g.to })
}
