package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patience is how much longer than asked a phase may take until the last
	// message has arrived.
	patience = 15 * time.Second
	// drainEvery is how often is looked whether they have come.
	drainEvery = time.Millisecond
	// lead is the time from the start of an open loop to what is due first.
	lead = time.Millisecond
)

var (
	errDuplicates = errors.New("messages were received more than once")
	errMissing    = errors.New("messages did not arrive")
)

// sendFunc sends one message.
type sendFunc func(ctx context.Context, m Message) error

// load sends messages to the connections of a pool, phase by phase.
type load struct {
	pool *pool
	send sendFunc
	// receivers is how many connections each message has to reach. 0: nobody
	// looks whether it arrives.
	receivers int
	options   TrafficOptions
	// patience is how much longer a phase may take than asked.
	patience time.Duration
}

// phase is what one run of a load counted.
type phase struct {
	tally *tally
	// calls counts the time from when a message was due until it was sent.
	calls    histogram
	messages int64
	took     time.Duration
	// stopped says that it ended before its time.
	stopped bool
}

// run sends messages for d, or until it is stopped, and waits until all have
// arrived.
func (l *load) run(ctx context.Context, d time.Duration) (*phase, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Ends with ctx, at the latest when run returns.
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	watcher.Go(func() {
		select {
		case <-l.pool.failed:
			cancel(l.pool.cause)
		case <-ctx.Done():
		}
	})

	stalled := time.AfterFunc(d+l.patience, func() { cancel(errMissing) })
	defer stalled.Stop()
	// Ends when no more messages are to be sent.
	sending, release := until(ctx, l.options.Stop)
	defer release()
	hurry := context.AfterFunc(sending, func() { stalled.Reset(l.patience) })
	defer hurry()

	f := &phase{}
	began := l.pool.now()
	var err error
	if l.options.Rate > 0 {
		err = l.open(ctx, sending, cancel, f, d)
	} else {
		err = l.closed(ctx, sending, cancel, f, d)
	}
	if err == nil {
		err = l.drain(ctx, f)
	}
	f.took = l.pool.now() - began
	l.pool.tally.Store(nil)
	if errors.Is(err, errMissing) {
		err = fmt.Errorf("%w: %s after the end, %d deliveries of %d messages to %d clients each were there",
			err, l.patience, f.tally.deliveries.Load(), f.messages, l.receivers)
	}
	return f, err
}

// count lets the tally of a phase count, and shows it to whoever watches.
func (l *load) count(f *phase) (stop func()) {
	began := l.pool.now()
	if l.receivers == 0 {
		return watch(l.options.Progress, func() Progress {
			return Progress{What: "calls", Done: int64(f.calls.count.Load()), Elapsed: l.pool.now() - began} //nolint:gosec // Far fewer.
		})
	}
	t := f.tally
	l.pool.tally.Store(t)
	return watch(l.options.Progress, func() Progress {
		return Progress{What: "deliveries", Done: t.deliveries.Load(), Elapsed: l.pool.now() - began}
	})
}

// open sends messages when they are due, whatever became of those before.
func (l *load) open(ctx, sending context.Context, cancel context.CancelCauseFunc, f *phase, d time.Duration) error {
	total := max(1, int(l.options.Rate*d.Seconds()))
	f.tally = newTally(l.receivers, total, false)
	stopCount := l.count(f)
	defer stopCount()
	timer, err := newPacer()
	if err != nil {
		return err
	}
	defer timer.close()
	stop := context.AfterFunc(sending, timer.close)
	defer stop()

	// Room for all, so that who keeps the time never waits.
	due := make(chan Message, total)
	var callers sync.WaitGroup
	for range min(l.options.InFlight, total) {
		callers.Go(func() {
			for m := range due {
				if !l.call(ctx, cancel, f, m) {
					return
				}
			}
		})
	}
	start := l.pool.now() + lead
	sent := 0
	for i := range total {
		at := start + time.Duration(float64(i)/l.options.Rate*float64(time.Second))
		if timer.wait(at-l.pool.now()) != nil || sending.Err() != nil {
			break
		}
		// A phase begins at slot 0, so that no slot is used twice.
		due <- Message{Seq: uint64(i), Due: at, Bytes: l.options.PayloadBytes}
		sent++
	}
	close(due)
	callers.Wait()
	f.messages, f.stopped = int64(sent), sent < total
	return ended(ctx)
}

// closed keeps messages in flight for d: one caller for each, which sends the
// next when the last has reached all its receivers. Each sends one at least,
// also where d is over before a busy machine lets it run.
func (l *load) closed(ctx, sending context.Context, cancel context.CancelCauseFunc, f *phase, d time.Duration) error {
	width := l.options.InFlight
	f.tally = newTally(l.receivers, width, true)
	stopCount := l.count(f)
	defer stopCount()
	end := l.pool.now() + d
	var messages atomic.Int64
	var stopped atomic.Bool
	var callers sync.WaitGroup
	for i := range width {
		callers.Go(func() {
			m := Message{Seq: uint64(i), Bytes: l.options.PayloadBytes} //nolint:gosec // Not negative.
			for ; ; m.Seq += uint64(width) {                            //nolint:gosec // Not negative.
				if m.Due = l.pool.now(); m.Due >= end && m.Seq >= uint64(width) { //nolint:gosec // Not negative.
					return
				}
				if sending.Err() != nil {
					stopped.Store(true)
					return
				}
				messages.Add(1)
				if !l.call(ctx, cancel, f, m) {
					return
				}
				if l.receivers == 0 {
					continue
				}
				select {
				case <-f.tally.slots[i].done:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	callers.Wait()
	f.messages, f.stopped = messages.Load(), stopped.Load()
	return ended(ctx)
}

// call sends one message; false ends the phase.
func (l *load) call(ctx context.Context, cancel context.CancelCauseFunc, f *phase, m Message) bool {
	if err := l.send(ctx, m); err != nil {
		cancel(fmt.Errorf("send a message: %w", err))
		return false
	}
	f.calls.record(l.pool.now() - m.Due)
	return true
}

// drain waits for the last messages, and makes sure that there are no more.
func (l *load) drain(ctx context.Context, f *phase) error {
	if l.receivers == 0 {
		return nil
	}
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for f.tally.complete.Load() < f.messages {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	if f.tally.surplus.Load() > 0 || f.tally.deliveries.Load() > f.messages*int64(l.receivers) {
		return errDuplicates
	}
	return nil
}

// ended returns why ctx has ended; nil when it has not.
func ended(ctx context.Context) error {
	return context.Cause(ctx) //nolint:wrapcheck // It is what the scenario or its caller gave.
}
