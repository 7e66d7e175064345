package edge

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
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

// fakeMemory is a reading that a test sets. A collection does nothing but count
// unless the test says so.
type fakeMemory struct{ bytes, cycle, collections atomic.Uint64 }

func (m *fakeMemory) read() memoryReading { return memoryReading{m.bytes.Load(), m.cycle.Load()} }

func (m *fakeMemory) collect() { m.collections.Add(1) }

// watch runs the ladder of h on m, with a limit of 100 bytes, until the end of
// the test. What comes back lets time pass for so many looks.
func (m *fakeMemory) watch(t *testing.T, h *Hub) (look func(times int)) {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { h.watchMemory(100, m.read, m.collect, stop) })
	t.Cleanup(func() {
		close(stop)
		watching.Wait()
	})
	timer := time.NewTimer(memoryCheck / 2) // never at the time of a look
	<-timer.C
	return func(times int) {
		timer.Reset(time.Duration(times) * memoryCheck)
		<-timer.C
		synctest.Wait()
	}
}

func TestWatchMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		var memory fakeMemory
		look := memory.watch(t, h)
		for _, step := range []struct {
			used uint64
			want memoryLevel
		}{{10, memoryGood}, {72, memoryTight}, {95, memoryCritical}, {10, memoryScarce}, {10, memoryTight}, {10, memoryGood}} {
			memory.bytes.Store(step.used)
			look(1)
			if got := h.memory(); got != step.want {
				t.Errorf("%d %%: level %d, want %d", step.used, got, step.want)
			}
		}
	})
}

// TestEvictsOncePerCycle: what was closed shows only after a collection, so
// nobody else is closed before; and a collection is asked for.
func TestEvictsOncePerCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		clients := make([]<-chan closedAt, 4)
		for i := range clients {
			conn, closed := dialPipe(t, h)
			clients[i] = closed
			// Each holds a part of a message.
			if _, err := conn.Write([]byte{0x01, 0x81, 0, 0, 0, 0, 'x'}); err != nil {
				t.Fatal(err)
			}
		}
		var memory fakeMemory
		look := memory.watch(t, h)
		evicted := uint64(0)
		check := func(want uint64) {
			t.Helper()
			for i, closed := range clients {
				select {
				case got := <-closed:
					clients[i] = nil
					if evicted++; got.code != closeSlowConsumer {
						t.Errorf("closed with %d", got.code)
					}
				default:
				}
			}
			if evicted != want {
				t.Fatalf("%d were closed, want %d", evicted, want)
			}
		}
		memory.bytes.Store(95)
		for want := range uint64(3) {
			look(1)
			check(want + 1)
			if got := memory.collections.Load(); got != want+1 {
				t.Errorf("%d collections for %d rounds", got, want+1)
			}
			look(3)
			check(want + 1)
			memory.cycle.Add(1)
		}
		memory.bytes.Store(10) // the last collection has found it
		look(1)
		check(3)
	})
}

// TestEvictsWhoIsClosing: who was closed and does not take the rest of a message
// goes on holding it, and is cut before anybody else is closed.
func TestEvictsWhoIsClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		attachPipe(t, h, func(conn net.Conn) {
			_, err := ws.ReadFrame(conn) // the greeting
			if err == nil {
				_, err = ws.ReadHeader(conn) // the message has begun to go out
			}
			if err != nil {
				t.Error(err)
			}
		})
		staller := h.openConns()[0]
		staller.loop.mu.Lock()
		staller.sendLocked(frame.Text(make([]byte, 1<<20)))
		staller.loop.flushLocked()
		staller.loop.mu.Unlock()
		synctest.Wait()
		other, closed := dialPipe(t, h)
		if _, err := other.Write([]byte{0x01, 0x81, 0, 0, 0, 0, 'x'}); err != nil {
			t.Fatal(err)
		}
		var memory fakeMemory
		look := memory.watch(t, h)
		memory.bytes.Store(95)
		check := func(connections int64) {
			t.Helper()
			look(1)
			memory.cycle.Add(1)
			if got := h.connections.Load(); got != connections {
				t.Errorf("%d connections, want %d", got, connections)
			}
			if len(closed) > 0 {
				t.Fatal("the other one was closed")
			}
		}
		check(2) // the staller is closing
		check(1)
		memory.bytes.Store(10)
		check(1)
	})
}

// TestScarceMemoryIsNotKept: clients that keep memory scarce, but not critical,
// would keep newcomers out for as long as they like. After a while those that
// hold much are closed, and only those.
func TestScarceMemoryIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		hold := func(bytes int) <-chan closedAt {
			client, closed := dialPipe(t, h)
			wire, err := ws.CompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, make([]byte, bytes))))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(wire); err != nil {
				t.Fatal(err)
			}
			return closed
		}
		much, little := hold(muchHeld), hold(muchHeld/2)
		var memory fakeMemory
		look := memory.watch(t, h)
		spend := func(seconds int, share uint64) {
			memory.bytes.Store(share)
			for range seconds * int(time.Second/memoryCheck) {
				look(1)
				memory.cycle.Add(1)
			}
		}
		spend(4, 85)
		spend(1, 10) // newcomers got in
		spend(1, 10)
		spend(4, 85)
		if len(much) > 0 {
			t.Fatal("closed at once")
		}
		spend(3, 85)
		select {
		case got := <-much:
			if got.code != closeSlowConsumer {
				t.Errorf("closed with %d", got.code)
			}
		default:
			t.Error("not closed")
		}
		spend(5, 85)
		if len(little) > 0 {
			t.Error("who holds little was closed")
		}
	})
}

// TestNobodyToEvict: while there is nothing to free, memory is critical for
// other causes, and collecting four times a second would only make it worse.
func TestNobodyToEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		dialPipe(t, h)
		var memory fakeMemory
		look := memory.watch(t, h)
		memory.bytes.Store(95)
		const seconds = 10
		for range seconds * int(time.Second/memoryCheck) {
			look(1)
			memory.cycle.Store(memory.collections.Load())
		}
		if got := memory.collections.Load(); got < seconds/2 || got > seconds {
			t.Errorf("%d collections in %d s", got, seconds)
		}
	})
}

// TestScarceMemoryIsReadAnew: a node without work has no collections of its own,
// and would refuse clients for minutes after it has recovered.
func TestScarceMemoryIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, nil)
		var memory fakeMemory
		look := memory.watch(t, h)
		const second = int(time.Second / memoryCheck)
		memory.bytes.Store(75)
		look(10 * second)
		if got := memory.collections.Load(); got != 0 {
			t.Errorf("%d collections while memory is only tight", got)
		}
		memory.bytes.Store(85)
		for range 10 * second { // the runtime collects by itself
			memory.cycle.Add(1)
			look(1)
		}
		if got := memory.collections.Load(); got != 0 {
			t.Errorf("%d collections though the reading is fresh", got)
		}
		look(10 * second)
		if got := memory.collections.Load(); got < 7 || got > 10 {
			t.Errorf("%d collections in 10 s", got)
		}
	})
}

func TestMemoryInUseCounts(t *testing.T) {
	read := memoryInUse()
	before := read()
	runtime.GC()
	after := read()
	if before.bytes == 0 || after.cycle <= before.cycle {
		t.Errorf("%+v, after a collection %+v", before, after)
	}
}
