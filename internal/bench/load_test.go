package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testLoad is a load whose messages arrive when send passes them on.
func testLoad(o TrafficOptions, receivers int, send func(p *pool, m Message)) *load {
	p := testPool(receivers)
	return &load{
		pool: p, receivers: receivers, options: o, patience: time.Minute,
		send: func(_ context.Context, m Message) error {
			send(p, m)
			return nil
		},
	}
}

// deliver passes a message to so many receivers.
func deliver(p *pool, m Message, receivers int) {
	for range receivers {
		p.message(m.Seq, m.Due, p.now())
	}
}

func TestOpenLoopMeasuresFromWhenMessagesWereDue(t *testing.T) {
	// The first call stalls for 200 ms. Those that were due meanwhile are sent
	// after it, and the first ten of them are at least 100 ms late. Measured
	// from when they were sent, all but one would take no time.
	const stall = 200 * time.Millisecond
	var once sync.Once
	l := testLoad(TrafficOptions{Rate: 100, InFlight: 1}, 1, func(p *pool, m Message) {
		once.Do(func() { <-time.After(stall) })
		deliver(p, m, 1)
	})
	f, err := l.run(t.Context(), 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.messages != 30 || f.tally.deliveries.Load() != 30 {
		t.Errorf("%d messages, %d deliveries, want 30", f.messages, f.tally.deliveries.Load())
	}
	if got := f.tally.latency.quantile(1 - 9.0/30); got < stall/2 {
		t.Errorf("the tenth longest took %s, want at least %s", got, stall/2)
	}
	if got := f.calls.quantile(1); got < stall {
		t.Errorf("the longest call took %s, want at least %s", got, stall)
	}
}

func TestOpenLoopKeepsTheRate(t *testing.T) {
	// No message may be sent before it is due.
	l := testLoad(TrafficOptions{Rate: 1000, InFlight: 8}, 3, func(p *pool, m Message) {
		if early := m.Due - p.now(); early > 0 {
			t.Errorf("message %d was sent %s early", m.Seq, early)
		}
		deliver(p, m, 3)
	})
	f, err := l.run(t.Context(), 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.took < 199*time.Millisecond || f.messages != 200 || f.tally.deliveries.Load() != 600 {
		t.Errorf("%d messages and %d deliveries in %s, want 200 and 600 in 200 ms", f.messages, f.tally.deliveries.Load(), f.took)
	}
}

func TestClosedLoopBoundsWhatIsInFlight(t *testing.T) {
	const width, receivers = 3, 5
	var flying, most, sent atomic.Int64
	var late sync.WaitGroup
	stop := make(chan struct{})
	l := testLoad(TrafficOptions{InFlight: width, Stop: stop}, receivers, func(p *pool, m Message) {
		if sent.Add(1) == 20*width {
			close(stop)
		}
		n := flying.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		// The call returns at once, the receivers come later.
		late.Go(func() {
			// At first, so that all are under way at once.
			for m.Seq < width && sent.Load() < width {
				runtime.Gosched()
			}
			<-time.After(time.Millisecond)
			deliver(p, m, receivers-1)
			flying.Add(-1)
			deliver(p, m, 1)
		})
	})
	f, err := l.run(t.Context(), time.Hour)
	late.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if most.Load() != width {
		t.Errorf("%d messages were in flight, want %d", most.Load(), width)
	}
	if want := f.messages * receivers; f.tally.deliveries.Load() != want || f.messages < 20*width {
		t.Errorf("%d messages made %d deliveries, want %d", f.messages, f.tally.deliveries.Load(), want)
	}
}

func TestLoadFails(t *testing.T) {
	errBroken := errors.New("broken")
	for _, c := range []struct {
		name string
		rate float64
		send func(p *pool, m Message) error
		want error
	}{
		{"a message is lost, open loop", 100, func(p *pool, m Message) error {
			if m.Seq != 1 {
				deliver(p, m, 2)
			}
			return nil
		}, errMissing},
		{"a receiver is left out, closed loop", 0, func(p *pool, m Message) error {
			deliver(p, m, 1)
			return nil
		}, errMissing},
		{"a message comes twice, open loop", 100, func(p *pool, m Message) error {
			deliver(p, m, 4)
			return nil
		}, errDuplicates},
		{"a message comes twice, closed loop", 0, func(p *pool, m Message) error {
			deliver(p, m, 4)
			return nil
		}, errDuplicates},
		{"a call fails, open loop", 100, func(*pool, Message) error { return errBroken }, errBroken},
		{"a call fails, closed loop", 0, func(*pool, Message) error { return errBroken }, errBroken},
		{"a connection ends", 100, func(p *pool, _ Message) error {
			p.fail(errLost)
			return nil
		}, errLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			patience := time.Minute // far from what ends the others
			if errors.Is(c.want, errMissing) {
				patience = 50 * time.Millisecond // nothing else ends these
			}
			p := testPool(2)
			l := &load{
				pool: p, receivers: 2, patience: patience,
				options: TrafficOptions{Rate: c.rate, InFlight: 2},
				send:    func(_ context.Context, m Message) error { return c.send(p, m) },
			}
			if _, err := l.run(t.Context(), 50*time.Millisecond); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}
