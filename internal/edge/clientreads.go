package edge

import (
	"context"
	"sync"
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// historyTimeout bounds one question to the history, for a client or a feed.
const historyTimeout = 5 * time.Second

// clientReads runs the reads of the history that clients ask for, each in a
// goroutine of its own. The hub owns it.
type clientReads struct {
	// within calls f with a context that ends with the timeout or with stop.
	within  func(f func(context.Context))
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	places places
}

func newClientReads() *clientReads {
	base, stop := context.WithCancel(context.Background())
	return &clientReads{within: within(base), stop: stop}
}

// within returns what calls f with a context that ends with base, or after
// historyTimeout.
func within(base context.Context) func(f func(context.Context)) {
	return func(f func(context.Context)) {
		ctx, cancel := context.WithTimeout(base, historyTimeout)
		defer cancel()
		f(ctx)
	}
}

// start runs read in a goroutine, for a client of tenant. False: there are too
// many already.
func (r *clientReads) start(tenant address.TenantID, read func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.places.take(tenant) {
		return false
	}
	r.running.Go(func() { // close waits for it
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.places.give(tenant)
		}()
		r.within(read)
	})
	return true
}

// close ends what is under way and waits for it. Nobody may start any more.
func (r *clientReads) close() {
	r.stop()
	r.running.Wait()
}
