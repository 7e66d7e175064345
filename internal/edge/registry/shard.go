package registry

import "github.com/aegisx/pushd/internal/address"

// Shard holds the memberships of one loop's connections. The caller holds the
// loop's mutex during every call. Connections are named by slots, which should
// be dense; there may be 2^28 of them.
//
// Joining and leaving take time in proportion to the memberships that the
// connection has, and do not depend on how many members the target has.
type Shard struct {
	index      index
	topics     slab[topic]
	lists      slab[[]ref]
	slots      slab[slot]
	extensions slab[extension]
	// walk is the call of Members that is under way.
	walk walk
}

// walk goes from the last member of a topic to the first: those before left
// are still to be visited. There are never more of them than members, so none
// when the topic ends and its number goes to another.
type walk struct {
	topic uint32
	left  int
}

// NewShard makes an empty shard.
func NewShard() *Shard { return &Shard{index: newIndex()} }

// Join makes slot a member of t. joined is false if it was one already; first
// says that t had no members. The zero target has no members.
func (s *Shard) Join(slot uint32, t address.Target) (joined, first bool) {
	if t.IsZero() {
		return false, false
	}
	h := s.index.hash(t)
	id := s.index.find(&s.topics, t, h)
	if id == 0 {
		r := s.place(slot)
		*s.cell(r) = membership{topic: s.newTopic(t, h, r)}
		return true, true
	}
	if _, member := s.find(slot, id); member {
		return false, false
	}
	r := s.place(slot)
	*s.cell(r) = membership{topic: id, at: s.addMember(id, r)}
	return true, false
}

// Leave ends slot's membership of t. left is false if it was not a member;
// last says that t has no members any more.
func (s *Shard) Leave(slot uint32, t address.Target) (left, last bool) {
	id := s.topic(t)
	if id == 0 {
		return false, false
	}
	r, ok := s.find(slot, id)
	if !ok {
		return false, false
	}
	at := s.cell(r).at
	s.vacate(r)
	return true, s.removeMember(id, at)
}

// LeaveAll ends all memberships of slot and tells f of each, after it has
// ended; last says that the target has no members any more. f must not use the
// shard.
func (s *Shard) LeaveAll(slot uint32, f func(t address.Target, last bool)) {
	if !s.slots.has(slot) {
		return
	}
	at := s.slots.at(slot)
	s.endAll(at.cells[:], f)
	e := at.more
	at.more = 0
	for e != 0 {
		ext := s.extensions.at(e)
		s.endAll(ext.cells[:], f)
		next := ext.next
		*ext = extension{}
		s.extensions.give(e)
		e = next
	}
}

// endAll ends the memberships in cells.
func (s *Shard) endAll(cells []membership, f func(t address.Target, last bool)) {
	for i := range cells {
		m := cells[i]
		if m.topic == 0 {
			continue
		}
		cells[i] = membership{}
		target := s.topics.at(m.topic).target
		f(target, s.removeMember(m.topic, m.at))
	}
}

// Has reports whether slot is a member of t.
func (s *Shard) Has(slot uint32, t address.Target) bool {
	id := s.topic(t)
	if id == 0 {
		return false
	}
	_, ok := s.find(slot, id)
	return ok
}

// Count returns how many members t has.
func (s *Shard) Count(t address.Target) int {
	id := s.topic(t)
	if id == 0 {
		return 0
	}
	return s.members(id)
}

// Channels returns how many channels slot is a member of.
func (s *Shard) Channels(slot uint32) int {
	if !s.slots.has(slot) {
		return 0
	}
	at := s.slots.at(slot)
	n := s.channels(at.cells[:])
	for e := at.more; e != 0; {
		ext := s.extensions.at(e)
		n += s.channels(ext.cells[:])
		e = ext.next
	}
	return n
}

func (s *Shard) channels(cells []membership) int {
	n := 0
	for i := range cells {
		if id := cells[i].topic; id != 0 && s.topics.at(id).target.Kind() == address.KindChannel {
			n++
		}
	}
	return n
}

// Members calls f for each member of t, in no particular order. f may end and
// begin any memberships: who leaves before its turn is not visited, everyone
// else who was there at the start is visited once, and who joins meanwhile,
// even if it was there before, is not visited. f must not call Members.
func (s *Shard) Members(t address.Target, f func(slot uint32)) {
	id := s.topic(t)
	if id == 0 {
		return
	}
	s.walk = walk{topic: id, left: s.members(id)}
	for s.walk.left > 0 {
		s.walk.left--
		f(s.owner(s.member(id, s.walk.left)))
	}
	s.walk = walk{}
}

// Topics calls f for each target that has members, and with how many. f must
// not use the shard.
func (s *Shard) Topics(f func(t address.Target, members int)) {
	for id := uint32(1); id <= s.topics.used; id++ {
		if t := s.topics.at(id); !t.target.IsZero() {
			f(t.target, s.members(id))
		}
	}
}
