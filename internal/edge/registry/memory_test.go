package registry

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/aegisx/pushd/internal/address"
)

func publicChannel(t *testing.T, name string) address.Target {
	t.Helper()
	c, err := address.ParseChannel("public:" + name)
	if err != nil {
		t.Fatal(err)
	}
	target, err := address.ChannelTarget(address.TenantID{}, c)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestDrainedChannelGivesMemoryBack empties a hot channel in both orders.
func TestDrainedChannelGivesMemoryBack(t *testing.T) {
	hot := publicChannel(t, "hot")
	const members = 10_000
	for _, tt := range []struct {
		name string
		slot func(i uint32) uint32
	}{
		{"oldest first", func(i uint32) uint32 { return i }},
		{"newest first", func(i uint32) uint32 { return members - 1 - i }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewShard()
			for slot := range uint32(members) {
				s.Join(slot, hot)
			}
			list := s.lists.at(s.topics.at(s.topic(hot)).list)
			for i := range uint32(members) {
				if len(*list) != members-int(i) {
					t.Fatalf("%d members after %d left", len(*list), i)
				}
				if c := cap(*list); c > max(keptList, 4*len(*list)) {
					t.Fatalf("%d places for %d members", c, len(*list))
				}
				s.Leave(tt.slot(i), hot)
			}
			if cap(*list) > keptList {
				t.Errorf("a free list keeps %d places", cap(*list))
			}
		})
	}
}

// TestNothingStays checks that what ended is used again and holds no names.
func TestNothingStays(t *testing.T) {
	s := NewShard()
	for round := range 5 {
		for slot := range uint32(20) {
			for i := range 40 {
				s.Join(slot, publicChannel(t, fmt.Sprint(round, ":", i)))
			}
		}
		for slot := range uint32(20) {
			s.LeaveAll(slot, func(address.Target, bool) {})
		}
		if s.topics.used != 40 || int(s.topics.used) != len(s.topics.free) {
			t.Fatalf("round %d: %d topics, %d free", round, s.topics.used, len(s.topics.free))
		}
		if s.lists.used != 40 || len(s.lists.free) != 40 {
			t.Fatalf("round %d: %d lists, %d free", round, s.lists.used, len(s.lists.free))
		}
		if s.extensions.used != 20*5 || len(s.extensions.free) != 20*5 {
			t.Fatalf("round %d: %d extensions, %d free", round, s.extensions.used, len(s.extensions.free))
		}
	}
	for id := uint32(1); id <= s.topics.used; id++ {
		if *s.topics.at(id) != (topic{}) {
			t.Errorf("topic %d holds %+v", id, *s.topics.at(id))
		}
	}
	for e := uint32(1); e <= s.extensions.used; e++ {
		if *s.extensions.at(e) != (extension{}) {
			t.Errorf("extension %d holds %+v", e, *s.extensions.at(e))
		}
	}
	if n := s.index.size(); n != 0 {
		t.Errorf("%d targets are known", n)
	}
}

func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(slot{}); n > 44 {
		t.Errorf("a slot takes %d bytes", n)
	}
	if n := unsafe.Sizeof(topic{}); n > 48 {
		t.Errorf("a topic takes %d bytes", n)
	}
	if extraMemberships > 1<<cellBits || inlineMemberships > 1<<cellBits {
		t.Error("a cell has no place in a ref")
	}
}
