package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// fakeAPI answers commands as answer says; nil ends the stream with an error.
type fakeAPI struct {
	pushdv1.UnimplementedControlServiceServer
	answer func(*pushdv1.PublishRequest) *pushdv1.PublishResponse
	// unary counts the calls that were not by a stream.
	unary atomic.Int64
}

func (f *fakeAPI) Publish(s grpc.BidiStreamingServer[pushdv1.PublishRequest, pushdv1.PublishResponse]) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a := f.answer(r)
		if a == nil {
			return status.Error(codes.Unavailable, "no more")
		}
		if err := s.Send(a); err != nil {
			return err
		}
	}
}

func (f *fakeAPI) NotifyUser(context.Context, *pushdv1.NotifyUserRequest) (*pushdv1.NotifyUserResponse, error) {
	f.unary.Add(1)
	return &pushdv1.NotifyUserResponse{}, nil
}

func (f *fakeAPI) SendChannel(context.Context, *pushdv1.SendChannelRequest) (*pushdv1.SendChannelResponse, error) {
	f.unary.Add(1)
	return &pushdv1.SendChannelResponse{}, nil
}

// startFakeAPI returns a connection to f.
func startFakeAPI(t *testing.T, f *fakeAPI) *grpc.ClientConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pushdv1.RegisterControlServiceServer(s, f)
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(ln) })
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		running.Wait()
	})
	return conn
}

func openFake(t *testing.T, f *fakeAPI, target Target) *Pushd {
	t.Helper()
	p, err := NewPushd(t.Context(), target, startFakeAPI(t, f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// echo answers with what it was asked for as message id.
func echo(r *pushdv1.PublishRequest) *pushdv1.PublishResponse {
	return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_NotifyUser{
		NotifyUser: &pushdv1.NotifyUserResponse{MessageId: r.GetNotifyUser().GetUserId()},
	}}
}

// Many wait on one stream, and each gets its own answer.
func TestCommandsAnswers(t *testing.T) {
	p := openFake(t, &fakeAPI{answer: echo}, Target{Stream: true})
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			for range 20 {
				r := &pushdv1.NotifyUserRequest{UserId: user(i)}
				a, err := p.commands.do(t.Context(), &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: r}})
				if got := a.GetNotifyUser().GetMessageId(); err != nil || got != user(i) {
					t.Errorf("%s got the answer of %q, %v", user(i), got, err)
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestCommandsFail(t *testing.T) {
	refused := func(*pushdv1.PublishRequest) *pushdv1.PublishResponse {
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_Refused{Refused: &pushdv1.Refusal{
			Code: int32(codes.ResourceExhausted), Message: "too much",
		}}}
	}
	message := Message{Bytes: MinPayload}
	t.Run("refused", func(t *testing.T) {
		p := openFake(t, &fakeAPI{answer: refused}, Target{Stream: true})
		for range 2 { // A refusal does not end the stream.
			if err := p.Unicast(t.Context(), 1, message); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("the server ends the stream", func(t *testing.T) {
		p := openFake(t, &fakeAPI{answer: func(*pushdv1.PublishRequest) *pushdv1.PublishResponse { return nil }}, Target{Stream: true})
		for range 2 {
			err := p.Unicast(t.Context(), 1, message)
			if !errors.Is(err, errNoCommands) || !strings.Contains(err.Error(), "no more") {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		release := make(chan struct{})
		p := openFake(t, &fakeAPI{answer: func(r *pushdv1.PublishRequest) *pushdv1.PublishResponse {
			<-release
			return echo(r)
		}}, Target{Stream: true})
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := p.Unicast(ctx, 1, message); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		p := openFake(t, &fakeAPI{answer: echo}, Target{Stream: true})
		p.Close()
		if err := p.Unicast(t.Context(), 1, message); !errors.Is(err, errNoCommands) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := NewPushd(ctx, Target{Stream: true}, startFakeAPI(t, &fakeAPI{answer: echo})); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// What is sent says whether it is to be stored, by whichever way.
func TestPushdSends(t *testing.T) {
	for _, stream := range []bool{false, true} {
		var stores []pushdv1.Store
		f := &fakeAPI{answer: func(r *pushdv1.PublishRequest) *pushdv1.PublishResponse {
			stores = append(stores, r.GetNotifyUser().GetStore()+r.GetSendChannel().GetStore())
			return echo(r)
		}}
		p := openFake(t, f, Target{Stream: stream, Store: pushdv1.Store_STORE_NEVER})
		if err := errors.Join(p.Unicast(t.Context(), 1, Message{Bytes: MinPayload}), p.Broadcast(t.Context(), Message{Bytes: MinPayload})); err != nil {
			t.Fatal(err)
		}
		switch {
		case stream && (len(stores) != 2 || stores[0] != pushdv1.Store_STORE_NEVER || stores[1] != pushdv1.Store_STORE_NEVER || f.unary.Load() != 0):
			t.Errorf("by a stream: %v, and %d calls", stores, f.unary.Load())
		case !stream && (len(stores) != 0 || f.unary.Load() != 2):
			t.Errorf("by calls: %v, and %d calls", stores, f.unary.Load())
		}
	}
}
