package edge

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/edge/poll"
)

func TestMemoryLevels(t *testing.T) {
	for name, c := range map[string]struct {
		from  memoryLevel
		share float64
		want  memoryLevel
	}{
		"empty":               {memoryGood, 0, memoryGood},
		"below the first":     {memoryGood, 0.699, memoryGood},
		"at the first":        {memoryGood, 0.70, memoryTight},
		"two at once":         {memoryGood, 0.85, memoryScarce},
		"all at once":         {memoryGood, 0.95, memoryCritical},
		"over the limit":      {memoryGood, 1.5, memoryCritical},
		"a little less stays": {memoryTight, 0.66, memoryTight},
		"relief":              {memoryTight, 0.64, memoryGood},
		"one step at a time":  {memoryCritical, 0.1, memoryScarce},
		"critical stays":      {memoryCritical, 0.86, memoryCritical},
		"critical eases":      {memoryCritical, 0.84, memoryScarce},
	} {
		if got := c.from.next(c.share); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestWatchMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultOptions()
		// A goroutine that waits for the kernel would stop the test's clock.
		o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(l), nil }
		h, err := NewHub(o)
		if err != nil {
			t.Fatal(err)
		}
		var used atomic.Uint64
		stop := make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() { h.watchMemory(100, used.Load, stop) })
		for _, step := range []struct {
			used uint64
			want memoryLevel
		}{{10, memoryGood}, {72, memoryTight}, {95, memoryCritical}, {10, memoryScarce}, {10, memoryTight}, {10, memoryGood}} {
			used.Store(step.used)
			timer := time.NewTimer(memoryCheck + time.Millisecond)
			<-timer.C
			synctest.Wait()
			if got := h.memory(); got != step.want {
				t.Errorf("%d %%: level %d, want %d", step.used, got, step.want)
			}
		}
		close(stop)
		watching.Wait()
		h.Close()
	})
}

func TestMemoryInUseCounts(t *testing.T) {
	if got := memoryInUse()(); got == 0 {
		t.Error("nothing is in use")
	}
}
