package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// slowOutlet takes some time for each flush.
type slowOutlet struct {
	mu        sync.Mutex
	published int
	flushes   int
	fail      error
}

func (o *slowOutlet) publish(string, []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.published++
	return nil
}

func (o *slowOutlet) flush(time.Duration) error {
	pass(10 * time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushes++
	return o.fail
}

func testPublisher(out outlet) *publisher {
	var live atomic.Bool
	live.Store(true)
	return newPublisher(out, DefaultOptions(), identity{node: "n1"}, &live, newMetrics(nil))
}

func testMessage(payload string) *message.Message {
	return &message.Message{ID: message.NewID(), Target: address.AllTarget(), Payload: []byte(payload)}
}

func TestFullQueueIsOverloaded(t *testing.T) {
	for name, payload := range map[string]string{"messages": "x", "bytes": strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			p := testPublisher(&slowOutlet{})
			var err error
			n := 0
			for ; err == nil && n <= publishDepth; n++ {
				err = p.enqueue(testMessage(payload))
			}
			if !errors.Is(err, message.ErrOverloaded) {
				t.Errorf("after %d: %v", n, err)
			}
			if p.bytes.Load() > publishBytes {
				t.Errorf("%d bytes are queued", p.bytes.Load())
			}
		})
	}
}

func TestOneFlushServesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutlet{}
		p := testPublisher(out)
		var wg, callers sync.WaitGroup
		wg.Go(p.runWriter)
		wg.Go(p.runFlusher)
		for range 100 {
			callers.Go(func() {
				if err := p.publish(t.Context(), testMessage("x")); err != nil {
					t.Errorf("publish: %v", err)
				}
			})
		}
		callers.Wait()
		if out.published != 100 || out.flushes > 3 {
			t.Errorf("%d messages, %d flushes", out.published, out.flushes)
		}
		out.fail = errors.New("no answer")
		if err := p.publish(t.Context(), testMessage("x")); !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("publish: %v", err)
		}
		p.close()
		p.close()
		wg.Wait()
	})
}

func TestPublishGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutlet{}
		p := testPublisher(out) // nobody writes yet
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.publish(ctx, testMessage("cancelled")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
		began := time.Now()
		if err := p.publish(t.Context(), testMessage("stuck")); !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("stuck: %v", err)
		}
		if took := time.Since(began); took != p.timeout {
			t.Errorf("took %s", took)
		}
		// Neither goes out when the writer comes round.
		p.close()
		p.runWriter()
		if out.published != 0 {
			t.Errorf("%d messages were sent late", out.published)
		}
	})
}

// What is submitted is done when it was flushed, not when it was queued, and in
// its order.
func TestSubmitIsDoneWhenNATSHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutlet{}
		p := testPublisher(out)
		var mu sync.Mutex
		var outcomes []error
		done := func() []error {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(outcomes)
		}
		submit := func() {
			err := p.submit(testMessage("x"), func(err error) {
				mu.Lock()
				defer mu.Unlock()
				outcomes = append(outcomes, err)
			})
			if err != nil {
				t.Errorf("submit: %v", err)
			}
		}
		for range 100 {
			submit()
		}
		var wg sync.WaitGroup
		wg.Go(p.runWriter)
		wg.Go(p.runFlusher)
		synctest.Wait() // all are written, and the flush is under way
		if n := len(done()); n != 0 || len(p.queue) != 0 {
			t.Errorf("%d are done, %d wait, before the flush", n, len(p.queue))
		}
		pass(time.Second)
		synctest.Wait()
		if got := done(); len(got) != 100 || errors.Join(got...) != nil {
			t.Errorf("%d are done: %v", len(got), errors.Join(got...))
		}
		out.mu.Lock()
		out.fail = errors.New("no answer")
		out.mu.Unlock()
		submit()
		p.close()
		wg.Wait()
		if got := done(); len(got) != 101 || !errors.Is(got[100], message.ErrUnavailable) {
			t.Errorf("%d are done: %v", len(got), got[len(got)-1])
		}
		if err := p.submit(testMessage("x"), func(error) { t.Error("done was called") }); !errors.Is(err, message.ErrUnavailable) {
			t.Errorf("after close: %v", err)
		}
	})
}

// TestEnqueuedIsCountedOnce: what expires in the queue is expired, and not lost
// besides. Nobody waits for it, so nothing is flushed.
func TestEnqueuedIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutlet{}
		p := testPublisher(out)
		r := &Router{pub: p, metrics: p.metrics}
		late := testMessage("late")
		late.Deadline = time.Now().Add(time.Second)
		for _, m := range []*message.Message{late, testMessage("x")} {
			if err := r.Enqueue(m); err != nil {
				t.Fatalf("enqueue: %v", err)
			}
		}
		pass(2 * time.Second)
		p.close()
		p.runWriter()
		p.runFlusher()
		expired := counted(t, p.metrics.dropped.WithLabelValues(dropExpired))
		lost := counted(t, p.metrics.dropped.WithLabelValues(dropUnavailable))
		if expired != 1 || lost != 0 || out.published != 1 || out.flushes != 0 {
			t.Errorf("%v expired, %v lost, %d published, %d flushes", expired, lost, out.published, out.flushes)
		}
	})
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatalf("read a counter: %v", err)
	}
	return m.GetCounter().GetValue()
}
