package registry_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/registry"
)

func TestDirectory(t *testing.T) {
	d := registry.NewDirectory()
	a, u, c := tenant(t, "a"), user(t, "a", "u"), channel(t, "a", "c")
	counts := func() [3]int {
		tenants, users, channels := d.Counts()
		return [3]int{tenants, users, channels}
	}
	for _, step := range []struct {
		name   string
		do     func()
		target address.Target
		loops  uint64
		counts [3]int
	}{
		{"empty", func() {}, a, 0, [3]int{}},
		{"first loop", func() { d.Add(a, 0) }, a, 1, [3]int{1, 0, 0}},
		{"last loop", func() { d.Add(a, 63) }, a, 1<<63 | 1, [3]int{1, 0, 0}},
		{"again", func() { d.Add(a, 63) }, a, 1<<63 | 1, [3]int{1, 0, 0}},
		{"user", func() { d.Add(u, 5) }, u, 1 << 5, [3]int{1, 1, 0}},
		{"channel", func() { d.Add(c, 6) }, c, 1 << 6, [3]int{1, 1, 1}},
		{"remove one of two", func() { d.Remove(a, 0) }, a, 1 << 63, [3]int{1, 1, 1}},
		{"remove it again", func() { d.Remove(a, 0) }, a, 1 << 63, [3]int{1, 1, 1}},
		{"remove the last", func() { d.Remove(a, 63) }, a, 0, [3]int{0, 1, 1}},
		{"remove of nothing", func() { d.Remove(a, 63) }, a, 0, [3]int{0, 1, 1}},
		{"no such loops", func() { d.Add(a, 64); d.Add(a, -1); d.Remove(u, 64) }, u, 1 << 5, [3]int{0, 1, 1}},
		{"all gone", func() { d.Remove(u, 5); d.Remove(c, 6) }, c, 0, [3]int{}},
	} {
		step.do()
		if got := d.Loops(step.target); got != step.loops {
			t.Errorf("%s: got loops %b, want %b", step.name, got, step.loops)
		}
		if got := counts(); got != step.counts {
			t.Errorf("%s: got counts %v, want %v", step.name, got, step.counts)
		}
	}
}

// TestDirectoryConcurrent lets every loop come and go at the same targets.
func TestDirectoryConcurrent(t *testing.T) {
	d := registry.NewDirectory()
	all := targets(t)
	const loops, rounds = 8, 200
	var wg sync.WaitGroup
	for loop := range loops {
		wg.Go(func() {
			for round := range rounds {
				for _, x := range all {
					d.Add(x, loop)
					if d.Loops(x)&(1<<loop) == 0 {
						t.Errorf("loop %d is missing in %v", loop, x)
						return
					}
				}
				d.Counts()
				for i, x := range all {
					// In the end the even loops stay at the even targets.
					if round < rounds-1 || loop%2 != 0 || i%2 != 0 {
						d.Remove(x, loop)
					}
				}
			}
		})
	}
	wg.Wait()
	var want [3]int
	for i, x := range all {
		mask := uint64(0)
		if i%2 == 0 {
			mask = 0b01010101
			want[map[address.Kind]int{address.KindTenant: 0, address.KindUser: 1, address.KindChannel: 2}[x.Kind()]]++
		}
		if got := d.Loops(x); got != mask {
			t.Errorf("target %d: got %b, want %b", i, got, mask)
		}
	}
	tenants, users, channels := d.Counts()
	if got := [3]int{tenants, users, channels}; got != want {
		t.Errorf("got counts %v, want %v", got, want)
	}
}

func TestDirectoryAllocations(t *testing.T) {
	d := registry.NewDirectory()
	a, c := tenant(t, "a"), channel(t, "a", "c")
	d.Add(a, 1)
	d.Add(c, 1)
	d.Remove(c, 1)
	if n := testing.AllocsPerRun(100, func() {
		d.Add(c, 2)
		d.Loops(a)
		d.Remove(c, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDirectoryLoops(b *testing.B) {
	d := registry.NewDirectory()
	all := make([]address.Target, 10_000)
	for i := range all {
		all[i] = user(b, "a", fmt.Sprint("user-", i))
		d.Add(all[i], i%4)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if d.Loops(all[i%len(all)]) == 0 {
			b.Fatal("lost a target")
		}
	}
}
