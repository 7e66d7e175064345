package cluster

import (
	"context"
	"fmt"
	"time"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
)

const (
	// helloWindow is how long a new node listens for one with its name.
	helloWindow = 300 * time.Millisecond
	// helloEvery repeats the question while routes are being made.
	helloEvery = 100 * time.Millisecond
)

// join subscribes what every node hears, waits until the connection serves,
// and enters the roster unless the name is taken.
func (r *Router) join(ctx context.Context, known *roster) error {
	for _, subject := range append(r.talk.subjects(), r.interest.subjects()...) {
		if _, err := r.conn.subscribe(subject); err != nil {
			return err
		}
	}
	r.interest.linkUp()
	if err := r.awaitLive(ctx); err != nil {
		return err
	}
	if !r.opts.alone() {
		if err := r.hello(ctx); err != nil {
			return err
		}
		if known.namesake() {
			return fmt.Errorf("join as %q: %w", r.opts.NodeName, ErrNameTaken)
		}
	}
	r.startBeats()
	return r.awaitHistory(ctx)
}

// startBeats enters the roster of the other nodes.
func (r *Router) startBeats() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stopBeats = cancel
	r.beats.Go(func() { r.talk.runBeats(ctx) })
	r.beats.Go(func() { r.watchDrops(ctx) })
	r.beats.Go(func() { r.watchHistory(ctx) })
}

// awaitLive waits until the first flush has settled. On a busy machine that may
// take longer than a publisher would wait.
func (r *Router) awaitLive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(r.opts.PublishTimeout, startPatience))
	defer cancel()
	for !r.Ready() {
		if !wait(ctx, time.Millisecond) {
			return fmt.Errorf("NATS does not answer: %w", ctx.Err())
		}
	}
	return nil
}

// hello makes the other nodes send their heartbeats.
func (r *Router) hello(ctx context.Context) error {
	for range int(helloWindow / helloEvery) {
		if err := r.conn.publish(subjectHello, nil); err != nil {
			return fmt.Errorf("hello: %w", err)
		}
		if !wait(ctx, helloEvery) {
			return fmt.Errorf("hello: %w", ctx.Err())
		}
	}
	return nil
}

// watchDrops counts what the NATS client drops, which it does not tell.
func (r *Router) watchDrops(ctx context.Context) {
	for wait(ctx, r.opts.HeartbeatInterval) {
		if r.conn.countDropped() {
			r.talk.sink.Doubt(address.Target{})
		}
	}
}

// Close leaves the cluster: what is queued is published, the other nodes are
// told, interest ends, what has come is delivered, and the embedded server goes
// last, after it has handed over the streams that it leads. ctx bounds the waits
// for NATS; once it is done Close only frees what the node holds, and says in its
// error what was cut short. Later calls do nothing.
func (r *Router) Close(ctx context.Context) error {
	var err error
	r.closing.Do(func() { err = r.close(ctx) })
	return err
}

func (r *Router) close(ctx context.Context) error {
	// A closed connection refuses to wait for anything.
	cut := make(chan struct{})
	stopCut := context.AfterFunc(ctx, func() {
		defer close(cut)
		r.conn.nc.Close()
	})
	r.pub.close()
	r.receipts.close()
	r.history.close(ctx)
	r.gather.close()
	joined := r.stopBeats != nil
	if joined {
		r.stopBeats()
		r.beats.Wait()
	}
	r.publishing.Wait()
	if joined {
		r.talk.beat(clusterv1.State_STATE_BYE)
	}
	// After this flush all that was sent to this node is in the channel, and
	// all that it sent is with the server. What comes later is for nobody.
	err := r.conn.flush(r.opts.PublishTimeout)
	r.stopInterest()
	r.batcher.Wait()
	close(r.stopReader)
	r.receiving.Wait()
	r.lanes.wg.Wait()
	if !stopCut() {
		<-cut
	}
	r.conn.close()
	r.stopServer(ctx)
	if err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}

func (r *Router) stopServer(ctx context.Context) {
	if r.srv != nil {
		r.srv.stop(ctx)
	}
}
