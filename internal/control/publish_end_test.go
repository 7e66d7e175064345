package control_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

func TestPublishEndsAtShutdown(t *testing.T) {
	h := newHeld()
	f := start(t, control.Options{}, &h.router)
	s := publish(t, f)
	put(t, s, all("x", "1"), all("x", "2"))
	receive(t, h.came)
	receive(t, h.came)
	done := make(chan error, 1)
	var stopping sync.WaitGroup
	defer stopping.Wait()
	ctx := within(t)
	stopping.Go(func() { done <- f.server.Shutdown(ctx) })
	h.finish(0, nil)
	if err := refusedAs(next(t, s)); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	h.finish(1, message.ErrUnavailable)
	checkRefusal(t, refusedAs(next(t, s)), told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true})
	_, err := s.Recv()
	checkRefusal(t, err, told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true})
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// A client that does not read holds up Shutdown no longer than its context.
func TestPublishIsCutAtShutdown(t *testing.T) {
	h := newHeld()
	f := start(t, control.Options{}, &h.router)
	s := publish(t, f)
	put(t, s, all("x", "1"))
	receive(t, h.came)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := s.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the stream got %v", err)
	}
}

// Under load, what reached the router and what was answered agree: a command
// without an answer was not sent.
func TestPublishShutdownUnderLoad(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	s := publish(t, f)
	started := make(chan struct{})
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i := 0; s.Send(asCommand(all("x", "1"))) == nil; i++ {
			if i == 1000 {
				close(started)
			}
		}
	})
	answers := make(chan int, 1)
	sending.Go(func() {
		n := 0
		for {
			if _, err := s.Recv(); err != nil {
				checkRefusal(t, err, told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true})
				answers <- n
				return
			}
			n++
		}
	})
	receive(t, started)
	if err := f.server.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	if answered := receive(t, answers); answered != r.calls() {
		t.Errorf("%d answers for %d messages", answered, r.calls())
	}
}

func TestPublishIsCanceled(t *testing.T) {
	h := newHeld()
	gone := make(chan error, 1)
	arrived := make(chan struct{}, 1)
	h.onPublish = func(ctx context.Context, _ *message.Message) error {
		arrived <- struct{}{}
		<-ctx.Done()
		gone <- ctx.Err()
		return ctx.Err()
	}
	f := start(t, control.Options{}, &h.router)
	ctx, cancel := context.WithCancel(within(t))
	s, err := f.api.Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	withReceipt := all("x", "2")
	withReceipt.Receipt = &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_ACKED}
	put(t, s, send("acme", "room"), withReceipt)
	receive(t, h.came)
	receive(t, arrived)
	cancel()
	if err := receive(t, gone); !errors.Is(err, context.Canceled) {
		t.Errorf("the router got %v", err)
	}
	h.finish(0, nil) // nobody waits for it any more
	if _, err := s.Recv(); grpcstatus.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	// The server is as before, and shuts down in an orderly way.
	h.onSubmit = nil
	h.onPublish = nil
	if err := oneByStream(t, f, all("x", "1")); err != nil {
		t.Error(err)
	}
}

func TestPublishSurvivesPanics(t *testing.T) {
	var logs syncBuffer
	r := &router{}
	f := start(t, control.Options{
		Keys:   mustKeys(t, "billing "+goodKey),
		Logger: slog.New(slog.NewTextHandler(&logs, nil)),
	}, r)
	boom := func() error {
		words := strings.Fields("one two")
		return errors.New(words[len(words)])
	}
	r.onSubmit = func(*message.Message, func(message.Accepted, error)) error { return boom() }
	r.onPublish = func(context.Context, *message.Message) error { return boom() }
	open := func() publishStream {
		s, err := f.api.Publish(withKey(within(t), goodKey))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := told{code: codes.Internal, reason: "INTERNAL"}
	s := open()
	put(t, s, all("x", "1"))
	_, err := s.Recv()
	checkRefusal(t, err, want)

	s = open()
	withReceipt := all("x", "2")
	withReceipt.Receipt = &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_QUEUED}
	put(t, s, withReceipt)
	checkRefusal(t, refusedAs(next(t, s)), want)
	if n := strings.Count(logs.String(), `msg="control call panicked" method=/pushd.v1.ControlService/Publish caller=billing`); n != 2 {
		t.Errorf("logged %s", logs.String())
	}

	r.onSubmit = func(*message.Message, func(message.Accepted, error)) error { return errors.New("broken") }
	s = open()
	put(t, s, all("x", "3"))
	checkRefusal(t, refusedAs(next(t, s)), want)
	if n := strings.Count(logs.String(), `msg="control command failed" command=broadcast_all caller=billing error="publish: broken"`); n != 1 {
		t.Errorf("logged %s", logs.String())
	}
	if strings.Contains(logs.String(), goodKey) {
		t.Error("the key is logged")
	}
}
