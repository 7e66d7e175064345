package edge

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestWheelNamesEachInItsTick(t *testing.T) {
	var w wheel
	want := make(map[uint32][]uint32)
	for slot := range uint32(1000) {
		due := w.add(slot, time.Duration(rand.IntN(200))*time.Second/2)
		if due < 1 || due >= wheelTicks {
			t.Fatalf("slot %d is due at %d", slot, due)
		}
		want[due] = append(want[due], slot)
	}
	got := make(map[uint32][]uint32)
	for now := time.Duration(0); now <= wheelTicks*tick; now += 700 * time.Millisecond {
		w.advance(now, func(slot, due uint32) {
			if uint32(now/tick) < due {
				t.Errorf("slot %d came at %s, due at %d", slot, now, due)
			}
			got[due] = append(got[due], slot)
		})
	}
	for due, slots := range want {
		if !slices.Equal(got[due], slots) {
			t.Errorf("tick %d: got %v, want %v", due, got[due], slots)
		}
	}
}

func TestWheelAddWhileAdvancing(t *testing.T) {
	var w wheel
	w.add(7, 0)
	calls := 0
	w.advance(3*wheelTicks*tick, func(slot, due uint32) {
		calls++
		if again := w.add(slot, time.Duration(due)*tick); again != due+1 {
			t.Errorf("added at %d, due at %d", due, again)
		}
	})
	if calls != 3*wheelTicks {
		t.Errorf("%d calls", calls)
	}
}

func TestWheelRoundsUpAndClamps(t *testing.T) {
	w := wheel{now: 100}
	for name, c := range map[string]struct {
		at   time.Duration
		want uint32
	}{
		"past":       {3 * time.Second, 101},
		"negative":   {-time.Hour, 101},
		"now":        {100 * time.Second, 101},
		"whole":      {110 * time.Second, 110},
		"fraction":   {110*time.Second + 1, 111},
		"far future": {time.Hour * 24 * 365, 100 + wheelTicks - 1},
	} {
		if got := w.add(1, c.at); got != c.want {
			t.Errorf("%s: due at %d, want %d", name, got, c.want)
		}
	}
}
