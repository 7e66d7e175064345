package edge_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

// fakeBus is a cluster of one node: what is enqueued is delivered in order, by
// a goroutine of its own. It counts references and fails a test that ends with
// some. All methods may be called concurrently.
type fakeBus struct {
	hub     *edge.Hub
	queue   chan *message.Message
	running sync.WaitGroup

	mu     sync.Mutex
	refs   map[address.Target]int
	faults []string
	// away makes Ready report false.
	away bool
	// refuse is what Enqueue returns.
	refuse error
	// accept says what becomes of what is submitted; nil: it is delivered.
	accept func(*message.Message) (message.Accepted, error)
	// later gets the answers to what is submitted; nil: they are given at once.
	later chan<- func()
	// hold says which targets are not live; nil: none.
	hold func(address.Target) bool
	held []waiter
	// reports are what was reported, by where to.
	reports map[string][]message.NodeReport
}

// waiter is an Acquire that was not answered yet.
type waiter struct {
	target address.Target
	ready  func(error)
}

func newFakeBus(h *edge.Hub) *fakeBus {
	b := &fakeBus{hub: h, queue: make(chan *message.Message, 1<<16), refs: make(map[address.Target]int), reports: make(map[string][]message.NodeReport)}
	b.running.Go(func() { // stop ends it
		for m := range b.queue {
			b.hub.Deliver(m)
		}
	})
	return b
}

// stop ends the goroutine. Nobody may enqueue any more.
func (b *fakeBus) stop() {
	close(b.queue)
	b.running.Wait()
}

func (b *fakeBus) Enqueue(m *message.Message) error {
	b.mu.Lock()
	err := b.refuse
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case b.queue <- m:
		return nil
	default:
		return message.ErrOverloaded
	}
}

func (b *fakeBus) Submit(m *message.Message, done func(message.Accepted, error)) error {
	b.mu.Lock()
	accept, later := b.accept, b.later
	b.mu.Unlock()
	if later != nil {
		later <- func() { done(message.Accepted{ID: m.ID}, nil) }
		return nil
	}
	if accept != nil {
		// The edge must bear to be called from within its own call.
		done(accept(m))
		return nil
	}
	if err := b.Enqueue(m); err != nil {
		return err
	}
	done(message.Accepted{ID: m.ID}, nil)
	return nil
}

func (b *fakeBus) Acquire(t address.Target, ready func(error)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refs[t]++
	if t.IsZero() {
		b.faults = append(b.faults, "acquired the zero target")
	}
	if b.hold != nil && b.hold(t) {
		b.held = append(b.held, waiter{t, ready})
		return false
	}
	return true
}

func (b *fakeBus) Release(t address.Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.refs[t] {
	case 0:
		b.faults = append(b.faults, fmt.Sprintf("released %v too often", t))
	case 1:
		delete(b.refs, t)
	default:
		b.refs[t]--
	}
}

func (b *fakeBus) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.away
}

// set changes the bus.
func (b *fakeBus) set(change func(*fakeBus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

// holdBack makes targets of these kinds not live.
func (b *fakeBus) holdBack(kinds ...address.Kind) {
	b.set(func(b *fakeBus) {
		b.hold = func(t address.Target) bool {
			for _, k := range kinds {
				if t.Kind() == k {
					return true
				}
			}
			return false
		}
	})
}

// awaitHeld waits until n questions wait for an answer.
func (b *fakeBus) awaitHeld(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.held) < n {
			return fmt.Errorf("%d of %d questions", len(b.held), n)
		}
		return nil
	})
}

// settle answers what waits, in order, and holds back nothing from now on.
func (b *fakeBus) settle(err error) {
	b.mu.Lock()
	held := b.held
	b.held, b.hold = nil, nil
	b.mu.Unlock()
	for _, w := range held {
		w.ready(err)
	}
}

// live stops holding back, but does not answer what waits: that is what a
// cluster looks like between the moment a target is live and its callbacks.
func (b *fakeBus) live() { b.set(func(b *fakeBus) { b.hold = nil }) }

// count returns the references of t.
func (b *fakeBus) count(t address.Target) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refs[t]
}

// check fails the test if a reference is left.
func (b *fakeBus) check(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		t.Error("bus: " + fault)
	}
	for target, n := range maps.All(b.refs) {
		t.Errorf("bus: %d references to %v are left", n, target)
	}
	if len(b.held) > 0 {
		t.Errorf("bus: the test leaves %d questions without an answer", len(b.held))
	}
}
