package registry_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/registry"
)

// crowd is the benchmark's connections: each has a tenant of a thousand, a
// user (four of five connections have one of their own), a hot channel of a
// hundred thousand and two channels of twenty. All in one shard.
type crowd struct {
	size  uint32
	shard *registry.Shard
	names names
}

// names makes the targets of a connection. Connections of one tenant share its
// text; users and channels bring their own.
type names struct {
	b       *testing.B
	tenants []address.Target
}

func (n *names) of(slot uint32) [5]address.Target {
	home := n.tenants[slot/1000]
	return [5]address.Target{
		home,
		n.user(home, fmt.Sprintf("user-%d", slot*4/5)),
		n.channel(home, fmt.Sprintf("public:hot:%d", slot/100_000)),
		n.channel(home, fmt.Sprintf("room:%d", slot%1000/20)),
		n.channel(home, fmt.Sprintf("topic:%d", slot%1000%50)),
	}
}

func (n *names) user(home address.Target, name string) address.Target {
	id, err := address.ParseUserID(name)
	if err != nil {
		n.b.Fatal(err)
	}
	t, err := address.UserTarget(home.Tenant(), id)
	if err != nil {
		n.b.Fatal(err)
	}
	return t
}

func (n *names) channel(home address.Target, name string) address.Target {
	c, err := address.ParseChannel(name)
	if err != nil {
		n.b.Fatal(err)
	}
	t, err := address.ChannelTarget(home.Tenant(), c)
	if err != nil {
		n.b.Fatal(err)
	}
	return t
}

// inUse returns the heap after a full collection, and how long the last one
// took.
func inUse() (bytes uint64, gc time.Duration) {
	runtime.GC()
	start := time.Now()
	runtime.GC()
	gc = time.Since(start)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, gc
}

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	c := &crowd{size: 1_000_000, shard: registry.NewShard()}
	if testing.Short() {
		c.size = 20_000
	}
	c.names = names{b: b}
	for i := range c.size/1000 + 1 {
		c.names.tenants = append(c.names.tenants, tenant(b, fmt.Sprintf("tenant-%d", i)))
	}
	for slot := range c.size {
		for _, t := range c.names.of(slot) {
			c.shard.Join(slot, t)
		}
	}
	return c
}

// BenchmarkMillion measures a shard with a million connections; with -short,
// twenty thousand.
func BenchmarkMillion(b *testing.B) {
	before, _ := inUse()
	c := newCrowd(b)
	after, gc := inUse()
	hot := c.names.of(0)[2]
	members := c.shard.Count(hot)

	b.Run("members", func(b *testing.B) {
		b.ReportAllocs()
		visited := uint32(0)
		visit := func(slot uint32) { visited += slot }
		for b.Loop() {
			c.shard.Members(hot, visit)
		}
		b.ReportMetric(float64(after-before)/float64(c.size), "B/conn")
		b.ReportMetric(float64(gc.Microseconds())/1000, "gc-ms")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(members), "ns/member")
	})
	// Targets are made before, at random connections.
	r := rand.New(rand.NewPCG(1, 2))
	slots := make([]uint32, 4096)
	targets := make([][5]address.Target, len(slots))
	for i := range slots {
		slots[i] = r.Uint32N(c.size)
		targets[i] = c.names.of(slots[i])
	}
	rejoin := func(which int) func(b *testing.B) {
		return func(b *testing.B) {
			b.Helper()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i % len(slots)
				c.shard.Leave(slots[k], targets[k][which])
				c.shard.Join(slots[k], targets[k][which])
			}
		}
	}
	b.Run("leave and join hot", rejoin(2))
	b.Run("leave and join tail", rejoin(3))
	b.Run("reconnect", func(b *testing.B) {
		b.ReportAllocs()
		ended := func(address.Target, bool) {}
		for i := 0; b.Loop(); i++ {
			k := i % len(slots)
			c.shard.LeaveAll(slots[k], ended)
			for _, t := range targets[k] {
				c.shard.Join(slots[k], t)
			}
		}
	})
	runtime.KeepAlive(c)
}

// BenchmarkMillionDirectory measures the directory with the targets of a
// million connections; with -short, of twenty thousand.
func BenchmarkMillionDirectory(b *testing.B) {
	c := newCrowd(b)
	before, _ := inUse()
	d := registry.NewDirectory()
	c.shard.Topics(func(t address.Target, _ int) { d.Add(t, 0) })
	after, gc := inUse()
	t := c.names.of(17)[1]
	for b.Loop() {
		if d.Loops(t) == 0 {
			b.Fatal("lost a target")
		}
	}
	b.ReportMetric(float64(after-before)/float64(c.size), "B/conn")
	b.ReportMetric(float64(gc.Microseconds())/1000, "gc-ms")
	runtime.KeepAlive(c)
}
