package registry

import "github.com/aegisx/pushd/internal/address"

// topic is a target with at least one member. It is zero when it is free.
type topic struct {
	target address.Target
	// one is the only member, if list is 0.
	one ref
	// list holds the members, if it is not 0.
	list uint32
}

// keptList is how many places a list may have to stay allocated while it is
// not in use, so that a channel that comes and goes needs no allocation.
const keptList = 8

// members returns how many members topic id has.
func (s *Shard) members(id uint32) int {
	t := s.topics.at(id)
	if t.list == 0 {
		return 1
	}
	return len(*s.lists.at(t.list))
}

// member returns member i of topic id.
func (s *Shard) member(id uint32, i int) ref {
	t := s.topics.at(id)
	if t.list == 0 {
		return t.one
	}
	return (*s.lists.at(t.list))[i]
}

// topic returns the topic of t, 0 if t has no members.
func (s *Shard) topic(t address.Target) uint32 {
	return s.index.find(&s.topics, t, s.index.hash(t))
}

// newTopic makes a topic with one member; h is the hash of its target.
func (s *Shard) newTopic(target address.Target, h uint64, r ref) uint32 {
	id := s.topics.take()
	*s.topics.at(id) = topic{target: target, one: r}
	s.index.put(target, h, id)
	return id
}

// addMember makes r a member of topic id and returns where.
func (s *Shard) addMember(id uint32, r ref) uint32 {
	t := s.topics.at(id)
	if t.list == 0 {
		t.list = s.lists.take()
		list := s.lists.at(t.list)
		*list = append(*list, t.one)
	}
	list := s.lists.at(t.list)
	*list = append(*list, r)
	return uint32(len(*list) - 1) //nolint:gosec // a list is no longer than there are slots
}

// removeMember takes the member at a place out of topic id and reports
// whether it was the last one. The last member of the list takes its place. If
// a walk is under way that has not come to that place yet, the member that it
// would visit next takes it instead, and the last one, which the walk has
// passed, goes where that was: so the walk neither skips nor repeats anyone.
func (s *Shard) removeMember(id, place uint32) (last bool) {
	t := s.topics.at(id)
	if t.list == 0 {
		s.freeTopic(id)
		return true
	}
	list, at := s.lists.at(t.list), int(place)
	if s.walk.topic == id && at < s.walk.left {
		s.walk.left--
		s.move(*list, s.walk.left, at)
		at = s.walk.left
	}
	end := len(*list) - 1
	s.move(*list, end, at)
	if end == 0 {
		*list = (*list)[:0]
		s.freeTopic(id)
		return true
	}
	*list = shrink((*list)[:end])
	return false
}

// move puts the member at place from at place to.
func (s *Shard) move(list []ref, from, to int) {
	if from == to {
		return
	}
	list[to] = list[from]
	s.cell(list[to]).at = uint32(to) //nolint:gosec // a list is no longer than there are slots
}

// freeTopic forgets topic id, which has no members any more.
func (s *Shard) freeTopic(id uint32) {
	t := s.topics.at(id)
	s.index.remove(t.target, s.index.hash(t.target), id)
	if t.list != 0 {
		if list := s.lists.at(t.list); cap(*list) > keptList {
			*list = nil
		}
		s.lists.give(t.list)
	}
	*t = topic{}
	s.topics.give(id)
}

// shrink gives memory back when three quarters of list are empty. Half of what
// stays is free, so the next one is far.
func shrink(list []ref) []ref {
	if cap(list) <= keptList || len(list) > cap(list)/4 {
		return list
	}
	return append(make([]ref, 0, cap(list)/2), list...)
}
