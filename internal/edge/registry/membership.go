package registry

// membership says that a connection is a member of a topic. It is zero when
// its place is free.
type membership struct {
	topic uint32
	// at is where the topic's members name this connection.
	at uint32
}

const (
	// inlineMemberships is how many a connection has without an extension:
	// tenant, user and three channels.
	inlineMemberships = 5
	// extraMemberships is how many one extension holds.
	extraMemberships = 8
)

// slot holds the memberships of one connection.
type slot struct {
	cells [inlineMemberships]membership
	// more is the first extension, 0 if there is none.
	more uint32
}

// extension holds further memberships of one connection.
type extension struct {
	cells [extraMemberships]membership
	// next is the next extension of the same connection, 0 if there is none.
	next uint32
	// slot is the connection.
	slot uint32
}

// ref names the place of one membership: the slot, or with extended set the
// extension, in the upper bits, and the cell in the lower.
type ref uint32

const (
	cellBits     = 3
	extended ref = 1 << 31
)

func inSlot(slot uint32, cell uint32) ref { return ref(slot)<<cellBits | ref(cell) }

func inExtension(ext uint32, cell uint32) ref { return extended | ref(ext)<<cellBits | ref(cell) }

func (r ref) cell() uint32 { return uint32(r) & (1<<cellBits - 1) }

// table returns the number of the slot or extension.
func (r ref) table() uint32 { return uint32(r&^extended) >> cellBits }

// cell returns the membership at r.
func (s *Shard) cell(r ref) *membership {
	if r&extended == 0 {
		return &s.slots.at(r.table()).cells[r.cell()]
	}
	return &s.extensions.at(r.table()).cells[r.cell()]
}

// owner returns the slot of the connection whose membership is at r.
func (s *Shard) owner(r ref) uint32 {
	if r&extended == 0 {
		return r.table()
	}
	return s.extensions.at(r.table()).slot
}

// find returns the place where slot holds topic; with topic 0, a free place.
func (s *Shard) find(slot, topic uint32) (r ref, ok bool) {
	if !s.slots.has(slot) {
		return 0, false
	}
	at := s.slots.at(slot)
	for i := range uint32(inlineMemberships) {
		if at.cells[i].topic == topic {
			return inSlot(slot, i), true
		}
	}
	for e := at.more; e != 0; {
		ext := s.extensions.at(e)
		for i := range uint32(extraMemberships) {
			if ext.cells[i].topic == topic {
				return inExtension(e, i), true
			}
		}
		e = ext.next
	}
	return 0, false
}

// place returns a free place of slot.
func (s *Shard) place(slot uint32) ref {
	s.slots.reach(slot)
	if r, ok := s.find(slot, 0); ok {
		return r
	}
	at := s.slots.at(slot)
	e := s.extensions.take()
	ext := s.extensions.at(e)
	ext.slot, ext.next = slot, at.more
	at.more = e
	return inExtension(e, 0)
}

// vacate frees the place at r, and the extension that it empties.
func (s *Shard) vacate(r ref) {
	*s.cell(r) = membership{}
	if r&extended == 0 {
		return
	}
	e := r.table()
	ext := s.extensions.at(e)
	if ext.cells != [extraMemberships]membership{} {
		return
	}
	link := &s.slots.at(ext.slot).more
	for *link != e {
		link = &s.extensions.at(*link).next
	}
	*link = ext.next
	*ext = extension{}
	s.extensions.give(e)
}
