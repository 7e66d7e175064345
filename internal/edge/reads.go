package edge

import (
	"context"
	"sync"
	"time"
)

const (
	// maxReads bounds the reads of the history for clients at once.
	maxReads = 32
	// historyTimeout bounds one question to the history, for a client or a feed.
	historyTimeout = 5 * time.Second
)

// reads runs reads of the history, each in a goroutine of its own. The hub owns
// it.
type reads struct {
	places chan struct{}
	// within calls f with a context that ends with the timeout or with stop.
	within  func(f func(context.Context))
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newReads() *reads {
	base, stop := context.WithCancel(context.Background())
	return &reads{
		places: make(chan struct{}, maxReads),
		within: within(base),
		stop:   stop,
	}
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

// start runs read in a goroutine. False: there are too many already.
func (r *reads) start(read func(context.Context)) bool {
	select {
	case r.places <- struct{}{}:
	default:
		return false
	}
	r.running.Go(func() { // close waits for it
		defer func() { <-r.places }()
		r.within(read)
	})
	return true
}

// close ends what is under way and waits for it. Nobody may start any more.
func (r *reads) close() {
	r.stop()
	r.running.Wait()
}
