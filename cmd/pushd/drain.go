package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxReserve is how much of the drain timeout at most is kept for the steps
// after the clients: calls, cluster, metrics.
const maxReserve = 5 * time.Second

// clientShare returns how much of the drain timeout the clients get.
func clientShare(timeout time.Duration) time.Duration { return timeout - min(maxReserve, timeout/4) }

// drain takes the node down in the order of the lines below, within
// --drain-timeout. When now is closed, clients are closed at once and calls in
// flight are given up. A drain that has to cut connections is a warning, no
// error.
func (n *node) drain(now <-chan struct{}) error {
	timeout := n.config.Limits.DrainTimeout
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	clients, cancelClients := context.WithTimeout(ctx, clientShare(timeout))
	defer cancelClients()
	calls, cancelCalls := context.WithCancel(ctx)
	defer cancelCalls()
	stopHurry := n.hurry(now, cancelCalls)
	defer stopHurry()

	n.ready.drain()
	n.control.SetServing(false)
	n.router.SetDraining()
	if err := n.edge.Drain(clients); err != nil {
		n.log.Warn("connections cut", "error", err)
	}
	if err := n.control.Shutdown(calls); err != nil {
		n.log.Warn("calls cut", "error", err)
	}
	if err := n.router.Close(ctx); err != nil {
		n.log.Warn("cluster not left cleanly", "error", err)
	}
	n.hub.Close()
	errs := []error{n.closeMetrics(ctx), removeReadyFile(n.config.ReadyFile)}
	n.stopWatch()
	n.serving.Wait()
	n.log.Info("stopped")
	return errors.Join(errs...)
}

// hurry watches now while the node drains. The caller ends it with the
// returned function, which waits.
func (n *node) hurry(now <-chan struct{}, cancelCalls func()) (stop func()) {
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-now:
			n.log.Info("closing at once")
			n.edge.CloseNow()
			cancelCalls()
		case <-done:
		}
	})
	return func() {
		close(done)
		watcher.Wait()
	}
}

// closeMetrics lets a scrape finish; a profile in progress is cut after a
// second.
func (n *node) closeMetrics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if n.metrics.Shutdown(ctx) == nil {
		return nil
	}
	if err := n.metrics.Close(); err != nil {
		return fmt.Errorf("metrics server: %w", err)
	}
	return nil
}
