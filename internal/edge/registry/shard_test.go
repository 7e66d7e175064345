package registry_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/registry"
)

func tenant(tb testing.TB, name string) address.Target {
	tb.Helper()
	id, err := address.ParseTenantID(name)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := address.TenantTarget(id)
	if err != nil {
		tb.Fatal(err)
	}
	return target
}

func user(tb testing.TB, tenantName, name string) address.Target {
	tb.Helper()
	id, err := address.ParseUserID(name)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := address.UserTarget(tenant(tb, tenantName).Tenant(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return target
}

func channel(tb testing.TB, tenantName, name string) address.Target {
	tb.Helper()
	c, err := address.ParseChannel(name)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := address.ChannelTarget(tenant(tb, tenantName).Tenant(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return target
}

// targets returns a few of each kind, and more channels than a connection
// holds without an extension.
func targets(tb testing.TB) []address.Target {
	tb.Helper()
	out := []address.Target{tenant(tb, "a"), tenant(tb, "b"), user(tb, "a", "u"), user(tb, "b", "u")}
	for i := range 28 {
		out = append(out, channel(tb, "a", fmt.Sprint("c:", i)))
	}
	return out
}

// model is a shard in the plainest form.
type model map[address.Target]map[uint32]bool

func (m model) join(slot uint32, t address.Target) (joined, first bool) {
	if m[t][slot] {
		return false, false
	}
	first = len(m[t]) == 0
	if first {
		m[t] = map[uint32]bool{}
	}
	m[t][slot] = true
	return true, first
}

func (m model) leave(slot uint32, t address.Target) (left, last bool) {
	if !m[t][slot] {
		return false, false
	}
	delete(m[t], slot)
	if len(m[t]) == 0 {
		delete(m, t)
	}
	return true, len(m[t]) == 0
}

func (m model) targetsOf(slot uint32) map[address.Target]bool {
	out := map[address.Target]bool{}
	for t, members := range m {
		if members[slot] {
			out[t] = true
		}
	}
	return out
}

// pair runs a shard and its model side by side.
type pair struct {
	t     testing.TB
	shard *registry.Shard
	model model
	// walked is the target of the walk under way, and due those of its members
	// who were there at the start, have not left since and were not visited.
	walked address.Target
	due    map[uint32]bool
}

func newPair(tb testing.TB) *pair {
	tb.Helper()
	return &pair{t: tb, shard: registry.NewShard(), model: model{}}
}

func (p *pair) join(slot uint32, t address.Target) {
	p.t.Helper()
	joined, first := p.shard.Join(slot, t)
	wantJoined, wantFirst := p.model.join(slot, t)
	if joined != wantJoined || first != wantFirst {
		p.t.Fatalf("join %d %v: got %v %v, want %v %v", slot, t, joined, first, wantJoined, wantFirst)
	}
}

// modelLeave ends a membership in the model. Whoever left is not due, even if
// it joins again.
func (p *pair) modelLeave(slot uint32, t address.Target) (left, last bool) {
	if t == p.walked {
		delete(p.due, slot)
	}
	return p.model.leave(slot, t)
}

func (p *pair) leave(slot uint32, t address.Target) {
	p.t.Helper()
	left, last := p.shard.Leave(slot, t)
	wantLeft, wantLast := p.modelLeave(slot, t)
	if left != wantLeft || last != wantLast {
		p.t.Fatalf("leave %d %v: got %v %v, want %v %v", slot, t, left, last, wantLeft, wantLast)
	}
}

func (p *pair) leaveAll(slot uint32) {
	p.t.Helper()
	want := p.model.targetsOf(slot)
	p.shard.LeaveAll(slot, func(t address.Target, last bool) {
		if left, wantLast := p.modelLeave(slot, t); !left || last != wantLast {
			p.t.Fatalf("leave all %d: %v, last %v: want left %v, last %v", slot, t, last, left, wantLast)
		}
		delete(want, t)
	})
	if len(want) > 0 {
		p.t.Fatalf("leave all %d: not told of %v", slot, want)
	}
}

// walk visits the members of t while change alters the shard, and checks who
// is visited.
func (p *pair) walk(t address.Target, change func(visited uint32)) {
	p.t.Helper()
	p.walked, p.due = t, maps.Clone(p.model[t])
	p.shard.Members(t, func(slot uint32) {
		if !p.due[slot] {
			p.t.Fatalf("visited %d: twice, or after it left, or it came too late", slot)
		}
		delete(p.due, slot)
		change(slot)
	})
	if len(p.due) > 0 {
		p.t.Fatalf("not visited: %v", p.due)
	}
	p.walked, p.due = address.Target{}, nil
}

// check compares all that can be asked.
func (p *pair) check(slots uint32, all []address.Target) {
	p.t.Helper()
	for _, t := range all {
		if got, want := p.shard.Count(t), len(p.model[t]); got != want {
			p.t.Fatalf("count %v: got %d, want %d", t, got, want)
		}
		p.walk(t, func(uint32) {})
	}
	for slot := range slots {
		channels := 0
		of := p.model.targetsOf(slot)
		for _, t := range all {
			if p.shard.Has(slot, t) != of[t] {
				p.t.Fatalf("has %d %v: want %v", slot, t, of[t])
			}
			if of[t] && t.Kind() == address.KindChannel {
				channels++
			}
		}
		if got := p.shard.Channels(slot); got != channels {
			p.t.Fatalf("channels of %d: got %d, want %d", slot, got, channels)
		}
	}
	topics := map[address.Target]int{}
	p.shard.Topics(func(t address.Target, members int) {
		if topics[t] != 0 {
			p.t.Fatalf("topic %v twice", t)
		}
		topics[t] = members
		if members != len(p.model[t]) {
			p.t.Fatalf("topic %v: got %d members, want %d", t, members, len(p.model[t]))
		}
	})
	if len(topics) != len(p.model) {
		p.t.Fatalf("got %d topics, want %d", len(topics), len(p.model))
	}
}

// change does one operation that the numbers choose.
func (p *pair) change(op, slot uint32, t address.Target) {
	p.t.Helper()
	switch op % 8 {
	case 0, 1, 2, 3:
		p.join(slot, t)
	case 4, 5, 6:
		p.leave(slot, t)
	case 7:
		p.leaveAll(slot)
	}
}

func TestShardAgainstModel(t *testing.T) {
	all := targets(t)
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			p := newPair(t)
			slots := uint32(3 + seed*7)
			// Phases that mostly fill, or mostly empty.
			for phase := range 6 {
				for range 400 {
					op := uint32(r.IntN(8))
					if phase%2 == 0 && r.IntN(3) > 0 {
						op = 0
					}
					p.change(op, r.Uint32N(slots), all[r.IntN(len(all))])
				}
				p.check(slots, all)
				for range 10 {
					p.walk(all[r.IntN(len(all))], func(uint32) {
						for range r.IntN(3) {
							p.change(uint32(r.IntN(8)), r.Uint32N(slots), all[r.IntN(len(all))])
						}
					})
				}
				p.check(slots, all)
			}
			for slot := range slots {
				p.leaveAll(slot)
			}
			p.check(slots, all)
		})
	}
}

func FuzzShard(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 8, 0, 0, 7, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 1, 0, 8, 0, 0, 7, 0, 0, 1, 0, 0}) // left and joined again in one turn
	f.Add([]byte{0, 1, 2, 0, 2, 2, 0, 3, 2, 8, 0, 2, 7, 1, 0, 7, 3, 0})
	all := targets(f)
	f.Fuzz(func(t *testing.T, ops []byte) {
		const slots = 7
		p := newPair(t)
		next := func() (op, slot uint32, target address.Target, ok bool) {
			if len(ops) < 3 {
				return 0, 0, all[0], false
			}
			op, slot, target = uint32(ops[0]), uint32(ops[1])%slots, all[int(ops[2])%len(all)]
			ops = ops[3:]
			return op, slot, target, true
		}
		for op, slot, target, ok := next(); ok; op, slot, target, ok = next() {
			if op&8 == 0 {
				p.change(op, slot, target)
				continue
			}
			p.walk(target, func(uint32) {
				for op>>4&1 == 0 { // some walks change several things at a time
					var more bool
					if op, slot, target, more = next(); !more {
						return
					}
					p.change(op, slot, target)
				}
				op &^= 0x10
			})
		}
		p.check(slots, all)
	})
}

// TestMembersWhileLeaving covers every third pattern of who leaves at whose
// turn, in a channel of four members.
func TestMembersWhileLeaving(t *testing.T) {
	hot := channel(t, "a", "hot")
	const members = 4
	// leavers[i] is the set of those who leave at the turn of the i-th visited.
	for pattern := 0; pattern < 1<<(members*members); pattern += 3 {
		p := newPair(t)
		for slot := range uint32(members) {
			p.join(slot, hot)
		}
		turn := 0
		p.walk(hot, func(uint32) {
			leavers := pattern >> (turn * members) & (1<<members - 1)
			turn++
			for slot := range uint32(members) {
				if leavers>>slot&1 != 0 {
					p.leave(slot, hot)
				}
			}
		})
		p.walk(hot, func(uint32) {})
	}
}

func TestMembersWhoLeaveAndComeBack(t *testing.T) {
	hot := channel(t, "a", "hot")
	p := newPair(t)
	for slot := range uint32(5) {
		p.join(slot, hot)
	}
	visited := 0
	p.walk(hot, func(uint32) {
		visited++
		for slot := range uint32(5) {
			p.leave(slot, hot)
			p.join(slot, hot)
		}
	})
	if visited != 1 {
		t.Errorf("visited %d, want the first alone: all others left before their turn", visited)
	}
	p.check(5, []address.Target{hot})
}

func TestMembersOfATargetThatIsMadeAnew(t *testing.T) {
	hot, other := channel(t, "a", "hot"), channel(t, "a", "other")
	p := newPair(t)
	for slot := range uint32(3) {
		p.join(slot, hot)
	}
	p.walk(hot, func(uint32) {
		for slot := range uint32(3) {
			p.leaveAll(slot)
		}
		// These take the places that have just become free.
		for slot := range uint32(3) {
			p.join(slot, other)
		}
		p.join(9, hot)
	})
	p.check(10, []address.Target{hot, other})
}

func TestManyMemberships(t *testing.T) {
	p := newPair(t)
	const slots = 3
	all := []address.Target{tenant(t, "a"), user(t, "a", "u")}
	for i := range 128 {
		all = append(all, channel(t, "a", fmt.Sprint("c:", i)))
	}
	for slot := range uint32(slots) {
		for _, x := range all {
			p.join(slot, x)
		}
	}
	p.check(slots, all)
	if got := p.shard.Channels(1); got != 128 {
		t.Errorf("got %d channels", got)
	}
	// From the middle, so that extensions empty at every place of the chain.
	for i := range all {
		p.leave(1, all[(i*37+50)%len(all)])
		if i%13 == 0 {
			p.check(slots, all)
		}
	}
	for _, x := range all {
		p.join(1, x)
	}
	p.leaveAll(0)
	p.leaveAll(2)
	p.check(slots, all)
	p.leaveAll(1)
	p.check(slots, all)
}

func TestNobody(t *testing.T) {
	s := registry.NewShard()
	var zero address.Target
	if joined, first := s.Join(1, zero); joined || first {
		t.Error("the zero target was joined")
	}
	x := channel(t, "a", "x")
	if left, last := s.Leave(1, x); left || last {
		t.Error("left a target without members")
	}
	if left, last := s.Leave(1, zero); left || last {
		t.Error("left the zero target")
	}
	s.LeaveAll(12345, func(address.Target, bool) { t.Error("told of a membership") })
	s.Members(x, func(uint32) { t.Error("visited a member") })
	s.Topics(func(address.Target, int) { t.Error("told of a topic") })
	if s.Has(1, x) || s.Count(x) != 0 || s.Channels(77) != 0 {
		t.Error("an empty shard is not empty")
	}
}

func TestShardAllocations(t *testing.T) {
	s := registry.NewShard()
	hot, tail := channel(t, "a", "hot"), channel(t, "a", "tail")
	own := user(t, "a", "u")
	for slot := range uint32(1000) {
		s.Join(slot, hot)
	}
	s.Join(1, tail)
	visited := 0
	visit := func(uint32) { visited++ }
	ended := func(address.Target, bool) { visited++ }
	for name, f := range map[string]func(){
		"members":            func() { s.Members(hot, visit) },
		"hot leave and join": func() { s.Leave(500, hot); s.Join(500, hot) },
		"second member":      func() { s.Join(2, tail); s.Leave(2, tail) },
		"only member":        func() { s.Join(3, own); s.Leave(3, own) },
		"connect": func() {
			s.Join(4, own)
			s.Join(5, own)
			s.LeaveAll(4, ended)
			s.LeaveAll(5, ended)
			s.Join(4, hot)
			s.Join(5, hot)
		},
		"questions": func() { s.Has(7, hot); s.Count(hot); s.Channels(7) },
	} {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
	if visited == 0 {
		t.Error("nobody was visited")
	}
}
