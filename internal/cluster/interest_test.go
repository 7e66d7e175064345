package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// fakeBus stands for NATS: what is subscribed becomes live with a flush.
type fakeBus struct {
	t *testing.T

	mu      sync.Mutex
	down    bool
	subs    map[string]int // live subscriptions by subject
	flushed map[string]bool
	total   int // subscribe calls
	flushes int
}

func (b *fakeBus) subscribe(subject string) (subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total++
	b.subs[subject]++
	if b.subs[subject] != 1 {
		b.t.Errorf("%s is subscribed %d times", subject, b.subs[subject])
	}
	return &fakeSub{b, subject}, nil
}

func (b *fakeBus) flush(time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushes++
	if b.down {
		return errors.New("down")
	}
	for s := range b.subs {
		b.flushed[s] = true
	}
	return nil
}

type fakeSub struct {
	b       *fakeBus
	subject string
}

func (s *fakeSub) unsubscribe() error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.b.subs[s.subject] != 1 {
		s.b.t.Errorf("unsubscribe of %s, which is subscribed %d times", s.subject, s.b.subs[s.subject])
	}
	delete(s.b.subs, s.subject)
	delete(s.b.flushed, s.subject)
	return nil
}

func (b *fakeBus) has(subject string) (subscribed, flushed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subs[subject] == 1, b.flushed[subject]
}

func (b *fakeBus) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	if down {
		clear(b.flushed)
	}
}

// pass lets fake time go by.
func pass(d time.Duration) { <-time.After(d) }

func testTarget(n int) address.Target {
	id, err := address.ParseTenantID(fmt.Sprintf("t%d", n))
	if err != nil {
		panic(err)
	}
	t, err := address.TenantTarget(id)
	if err != nil {
		panic(err)
	}
	return t
}

// startInterest runs an interest over a fake bus in a synctest bubble. The
// returned func ends it.
func startInterest(t *testing.T) (*interest, *fakeBus, func()) {
	t.Helper()
	return startInterestAt(t, "127.0.0.1:0")
}

// startInterestAt is startInterest for a node of a mesh at addr, or for a lone
// one.
func startInterestAt(t *testing.T, addr string) (*interest, *fakeBus, func()) {
	t.Helper()
	o := DefaultOptions()
	o.ListenAddr = addr
	bus := &fakeBus{t: t, subs: make(map[string]int), flushed: make(map[string]bool)}
	i := newInterest(bus, o, newMetrics(nil), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { i.run(ctx) })
	i.linkUp()
	return i, bus, func() {
		cancel()
		wg.Wait()
	}
}

func TestInterestBatchesAndSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, bus, stop := startInterest(t)
		defer stop()
		pass(time.Second)
		synctest.Wait()
		flushes, began := bus.flushes, time.Now()
		ready := make(chan error, 100)
		for n := range 50 {
			for range 2 {
				if i.acquire(testTarget(n), func(err error) { ready <- err }) {
					t.Fatal("live at once")
				}
			}
		}
		for range 100 {
			if err := <-ready; err != nil {
				t.Errorf("ready: %v", err)
			}
		}
		synctest.Wait()
		if took := time.Since(began); took < i.settle || took > 2*i.settle {
			t.Errorf("took %s", took)
		}
		if bus.total != 50 || bus.flushes-flushes > 2 {
			t.Errorf("%d subscribes, %d flushes", bus.total, bus.flushes-flushes)
		}
	})
}

func TestInterestLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, bus, stop := startInterest(t)
		defer stop()
		target := testTarget(1)
		subject := interestSubject(target)
		i.acquire(target, func(error) {})
		pass(time.Second)
		i.release(target)
		pass(i.linger - time.Second)
		if !i.acquire(target, func(error) { t.Error("ready was called") }) {
			t.Error("the lingering subscription is not used again")
		}
		pass(2 * i.linger)
		if ok, _ := bus.has(subject); !ok || bus.total != 1 {
			t.Errorf("subscribed %v, %d times", ok, bus.total)
		}
		i.release(target)
		pass(i.linger + 2*sweepEvery)
		if ok, _ := bus.has(subject); ok {
			t.Error("still subscribed after the linger")
		}
		i.release(target) // once too often: logged, no more
		synctest.Wait()
		if len(i.entries) != 0 || i.idle.first != nil {
			t.Error("something is left")
		}
	})
}

func TestInterestSurvivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, bus, stop := startInterest(t)
		defer stop()
		pass(time.Second)
		bus.setDown(true)
		i.linkDown()
		target := testTarget(1)
		var got error
		i.acquire(target, func(err error) { got = err })
		pass(2 * retryPause)
		synctest.Wait()
		if !errors.Is(got, message.ErrUnavailable) {
			t.Errorf("ready: %v", got)
		}
		bus.setDown(false)
		i.linkUp()
		pass(time.Second)
		if !i.acquire(target, func(error) {}) {
			t.Error("not live after the outage")
		}
		// A flush that fails while the link looks well is tried again.
		bus.setDown(true)
		i.linkDown()
		i.linkUp()
		pass(time.Second)
		if i.live.Load() {
			t.Error("live without a flush")
		}
		bus.setDown(false)
		pass(time.Second)
		if !i.live.Load() {
			t.Error("not live though flushes work")
		}
	})
}

// A lone node has nothing to subscribe, but an outage still has to be told.
func TestWideInterestSurvivesOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, bus, stop := startInterestAt(t, "")
		defer stop()
		pass(time.Second)
		target := testTarget(1)
		if !i.acquire(target, func(error) { t.Error("ready was called") }) {
			t.Fatal("not live")
		}
		bus.setDown(true)
		i.linkDown()
		got := make(chan error, 2)
		if i.acquire(target, func(err error) { got <- err }) {
			t.Fatal("live without NATS")
		}
		pass(time.Second)
		if err := <-got; !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("ready: %v", err)
		}
		bus.setDown(false)
		i.linkUp()
		if i.acquire(target, func(err error) { got <- err }) {
			t.Fatal("live before a flush")
		}
		pass(time.Second)
		if err := <-got; err != nil {
			t.Errorf("ready after the outage: %v", err)
		}
		if !i.acquire(target, func(error) {}) || len(i.entries) != 0 || len(bus.subs) != 0 {
			t.Errorf("%d entries, subscribed %v", len(i.entries), bus.subs)
		}
	})
}

// Joins that fail while NATS is away leave nothing behind.
func TestOutageLeavesNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, bus, stop := startInterest(t)
		defer stop()
		pass(time.Second)
		bus.setDown(true)
		i.linkDown()
		const joins = 3000
		for n := range joins {
			i.acquire(testTarget(n), func(error) {})
		}
		pass(time.Second)
		for n := range joins {
			i.release(testTarget(n))
		}
		pass(3 * i.linger)
		synctest.Wait()
		i.mu.Lock()
		defer i.mu.Unlock()
		if len(i.entries)+len(i.unsettled)+len(i.pending) != 0 {
			t.Errorf("%d entries, %d unsettled, %d pending", len(i.entries), len(i.unsettled), len(i.pending))
		}
	})
}

// FuzzInterest compares interest with a model: a number per target.
func FuzzInterest(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 400)
		for n := range ops {
			ops[n] = byte(r.Uint32())
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		synctest.Test(t, func(t *testing.T) { modelInterest(t, ops) })
	})
}

func modelInterest(t *testing.T, ops []byte) {
	const targets = 4
	i, bus, stop := startInterest(t)
	var refs, called, due [targets]int
	var mu sync.Mutex
	up := true
	for _, op := range ops {
		n := int(op>>3) % targets
		target := testTarget(n)
		switch op & 7 {
		case 0, 1, 2:
			// With the lock that ready takes: a call inside acquire would hang.
			mu.Lock()
			refs[n]++
			live := i.acquire(target, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				called[n]++
				if err == nil && refs[n] > 0 {
					if _, flushed := bus.has(interestSubject(target)); !flushed {
						t.Error("ready without a flush")
					}
				}
			})
			if !live {
				due[n]++
			} else if _, flushed := bus.has(interestSubject(target)); !flushed || !up {
				t.Error("live without a flush")
			}
			mu.Unlock()
		case 3, 4:
			mu.Lock()
			refs[n] = max(refs[n]-1, 0)
			mu.Unlock()
			i.release(target)
		case 5:
			pass(time.Duration(op>>3) * time.Millisecond)
		case 6:
			pass(time.Duration(op>>3) * time.Second)
		case 7:
			synctest.Wait()
			up = !up
			bus.setDown(!up)
			if up {
				i.linkUp()
			} else {
				i.linkDown()
			}
		}
	}
	if !up {
		bus.setDown(false)
		i.linkUp()
	}
	pass(3 * i.linger)
	synctest.Wait()
	for n := range targets {
		if called[n] != due[n] {
			t.Errorf("target %d: ready was called %d times of %d", n, called[n], due[n])
		}
		_, flushed := bus.has(interestSubject(testTarget(n)))
		if flushed != (refs[n] > 0) {
			t.Errorf("target %d: %d references, live %v", n, refs[n], flushed)
		}
		if refs[n] > 0 && !i.acquire(testTarget(n), func(error) {}) {
			t.Errorf("target %d is not live", n)
		}
	}
	if len(i.pending)+len(i.unsettled) != 0 || i.idle.first != nil {
		t.Error("something is left")
	}
	stop()
	if len(bus.subs) != 0 {
		t.Errorf("left subscribed: %v", bus.subs)
	}
}
