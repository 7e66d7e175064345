package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

type publishStream = grpc.BidiStreamingClient[pushdv1.PublishRequest, pushdv1.PublishResponse]

// asCommand wraps the request of a publishing call; nil for others.
func asCommand(r proto.Message) *pushdv1.PublishRequest {
	switch r := r.(type) {
	case *pushdv1.NotifyUserRequest:
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: r}}
	case *pushdv1.BroadcastTenantRequest:
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_BroadcastTenant{BroadcastTenant: r}}
	case *pushdv1.SendChannelRequest:
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_SendChannel{SendChannel: r}}
	case *pushdv1.BroadcastAllRequest:
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_BroadcastAll{BroadcastAll: r}}
	default:
		return nil
	}
}

// refusedAs returns the refusal of an answer as the error of the call would
// be; nil if it is none.
func refusedAs(a *pushdv1.PublishResponse) error {
	r := a.GetRefused()
	if r == nil {
		return nil
	}
	return grpcstatus.ErrorProto(&status.Status{Code: r.GetCode(), Message: r.GetMessage(), Details: r.GetDetails()})
}

func publish(t *testing.T, f *fixture) publishStream {
	t.Helper()
	s, err := f.api.Publish(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s publishStream, requests ...proto.Message) {
	t.Helper()
	for _, r := range requests {
		if err := s.Send(asCommand(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, s publishStream) *pushdv1.PublishResponse {
	t.Helper()
	a, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// oneByStream sends one command on a stream of its own and returns the
// refusal.
func oneByStream(t *testing.T, f *fixture, r proto.Message) error {
	t.Helper()
	s := publish(t, f)
	put(t, s, r)
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	a := next(t, s)
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
	return refusedAs(a)
}

// held is a router whose submissions are finished by hand.
type held struct {
	router
	mu   sync.Mutex
	done []func(message.Accepted, error)
	came chan struct{} // one for each submission
}

func newHeld() *held {
	h := &held{came: make(chan struct{}, 10_000)}
	h.onSubmit = func(_ *message.Message, done func(message.Accepted, error)) error {
		h.mu.Lock()
		h.done = append(h.done, done)
		h.mu.Unlock()
		h.came <- struct{}{}
		return nil
	}
	return h
}

// finish finishes the i-th submission.
func (h *held) finish(i int, err error) {
	h.mu.Lock()
	done := h.done[i]
	id := h.published[i].ID
	h.mu.Unlock()
	if err != nil {
		done(message.Accepted{}, err)
		return
	}
	done(message.Accepted{ID: id}, nil)
}

func (h *held) submitted() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.done)
}

func TestPublishAnswersEachKind(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	s := publish(t, f)
	put(t, s, notify("acme", "ann", "", "1"), broadcast("acme", "x", "2"), send("acme", "room"), all("x", "4"))
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 4 {
		switch a := next(t, s).GetResult().(type) {
		case *pushdv1.PublishResponse_NotifyUser:
			got = append(got, "user "+a.NotifyUser.GetMessageId())
		case *pushdv1.PublishResponse_BroadcastTenant:
			got = append(got, "tenant "+a.BroadcastTenant.GetMessageId())
		case *pushdv1.PublishResponse_SendChannel:
			got = append(got, "channel "+a.SendChannel.GetMessageId())
		case *pushdv1.PublishResponse_BroadcastAll:
			got = append(got, "all "+a.BroadcastAll.GetMessageId())
		default:
			t.Errorf("answer %v", a)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	var want []string
	for i, kind := range []string{"user ", "tenant ", "channel ", "all "} {
		want = append(want, kind+r.published[i].ID.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Commands that are finished in any order are answered in theirs.
func TestPublishAnswersInOrder(t *testing.T) {
	const commands = 100
	h := newHeld()
	f := start(t, control.Options{}, &h.router)
	s := publish(t, f)
	for i := range commands {
		put(t, s, all("x", fmt.Sprint(i)))
		receive(t, h.came)
	}
	for i := range commands {
		at := (i*37 + 11) % commands
		var err error
		if at%10 == 3 {
			err = message.ErrOverloaded
		}
		h.finish(at, err)
	}
	for i := range commands {
		a := next(t, s)
		if want := fmt.Sprintf(`{"type":"x","data":%d}`, i); string(h.published[i].Payload) != want {
			t.Errorf("command %d went out as %s", i, h.published[i].Payload)
		}
		if i%10 == 3 {
			checkRefusal(t, refusedAs(a), told{code: codes.ResourceExhausted, reason: "RATE_LIMITED", retry: true})
		} else if got := a.GetBroadcastAll().GetMessageId(); got != h.published[i].ID.String() {
			t.Errorf("answer %d is %v", i, a)
		}
	}
}

func TestPublishGoesOnAfterRefusals(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{MaxPayload: payloadLimit}, r)
	s := publish(t, f)
	r.onSubmit = func(m *message.Message, done func(message.Accepted, error)) error {
		if strings.Contains(string(m.Payload), "full") {
			return message.ErrOverloaded
		}
		done(message.Accepted{ID: m.ID}, nil)
		return nil
	}
	bad := told{code: codes.InvalidArgument, reason: "BAD_REQUEST"}
	field := func(name string) told {
		w := bad
		w.fields = []string{name}
		return w
	}
	unreadable := &pushdv1.PublishRequest{}
	unreadable.ProtoReflect().SetUnknown([]byte{0x0a, 0x03, 0x0a, 0x01, 0xff}) // a tenant that is not UTF-8
	for i, c := range []struct {
		request *pushdv1.PublishRequest
		want    told
	}{
		{asCommand(all("x", "1")), told{}},
		{asCommand(all("", "1")), field("event_type")},
		{asCommand(all("x", "2")), told{}},
		{&pushdv1.PublishRequest{}, field("command")},
		{unreadable, bad},
		{asCommand(all("x", `"full"`)), told{code: codes.ResourceExhausted, reason: "RATE_LIMITED", retry: true}},
		{asCommand(all("x", strings.Repeat(" ", payloadLimit+1))), told{code: codes.InvalidArgument, reason: "MESSAGE_TOO_LARGE", fields: []string{"json"}}},
		{asCommand(all("x", "3")), told{}},
	} {
		if err := s.Send(c.request); err != nil {
			t.Fatal(err)
		}
		err := refusedAs(next(t, s))
		if c.want.code == codes.OK {
			if err != nil {
				t.Errorf("command %d: %v", i, err)
			}
			continue
		}
		checkRefusal(t, err, c.want)
	}
}

// What the caller says and what it sends reach the message.
func TestPublishCarriesTheTrace(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := &router{}
	f := start(t, control.Options{}, r)
	s, err := f.api.Publish(withHeaders(within(t), "traceparent", parent))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, all("x", "1"))
	next(t, s)
	if got := r.last(t).TraceParent; got != parent {
		t.Errorf("got %q", got)
	}
}

// A message that wants a receipt waits, without holding up those for other
// targets, and those for its own stay behind it.
func TestPublishReceipts(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(m *message.Message) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(m.Payload))
	}
	release := make(chan struct{})
	waiting, submitted := make(chan struct{}, 10), make(chan struct{}, 10)
	r := &router{
		onPublish: func(ctx context.Context, m *message.Message) error {
			waiting <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
			note(m)
			return nil
		},
		onSubmit: func(m *message.Message, done func(message.Accepted, error)) error {
			note(m)
			done(message.Accepted{ID: m.ID}, nil)
			submitted <- struct{}{}
			return nil
		},
		answer: &message.Accepted{ID: message.NewID(), Receipt: &message.Receipt{Asked: 2, Answered: 2}},
	}
	f := start(t, control.Options{}, r)
	s := publish(t, f)
	first := notify("acme", "ann", "", "1")
	first.Receipt = &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_QUEUED}
	put(t, s, first, notify("acme", "bob", "", "2"), notify("acme", "ann", "", "3"), notify("acme", "bob", "", "4"))
	receive(t, waiting)
	receive(t, submitted)
	release <- struct{}{}
	if got := next(t, s).GetNotifyUser().GetReceipt(); !got.GetComplete() || got.GetNodesAsked() != 2 {
		t.Errorf("receipt %v", got)
	}
	for range 3 {
		if err := refusedAs(next(t, s)); err != nil {
			t.Error(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, p := range order {
		got = append(got, strings.TrimSuffix(strings.TrimPrefix(p, `{"type":"notification","data":`), "}"))
	}
	if !slices.Equal(got, []string{"2", "1", "3", "4"}) {
		t.Errorf("order %v", got)
	}
}

// piped is a server and a client in one bubble of synctest.
func piped(t *testing.T, o control.Options, r control.Router) (pushdv1.ControlServiceClient, func()) {
	t.Helper()
	server, err := control.NewServer(o, r)
	if err != nil {
		t.Fatal(err)
	}
	ln := bufconn.Listen(64 << 10)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return pushdv1.NewControlServiceClient(conn), func() {
		_ = conn.Close()
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	}
}

// At a bound the server stops reading: no more commands come in, and soon no
// more can be sent. It goes on as soon as the oldest is answered.
func TestPublishBackpressure(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    int // commands in flight
	}{
		"commands": {"1", 256},
		"bytes":    {`"` + strings.Repeat("x", 512<<10) + `"`, 16},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld()
				api, stop := piped(t, control.Options{}, &h.router)
				defer stop()
				ctx, cancel := context.WithCancel(t.Context())
				var sending sync.WaitGroup
				defer sending.Wait()
				defer cancel()
				s, err := api.Publish(ctx)
				if err != nil {
					t.Fatal(err)
				}
				var sent atomic.Int64
				sending.Go(func() {
					for s.Send(asCommand(all("x", c.payload))) == nil {
						sent.Add(1)
					}
				})
				synctest.Wait()
				if got := h.submitted(); got != c.want {
					t.Errorf("%d commands are in flight, want %d", got, c.want)
				}
				stuck := sent.Load()
				h.finish(c.want-1, nil) // the newest: there is still no room
				synctest.Wait()
				if got := h.submitted(); got != c.want || sent.Load() != stuck {
					t.Errorf("%d commands were read and %d sent before the oldest was answered", got, sent.Load())
				}
				for i := range c.want - 1 {
					h.finish(i, nil)
					synctest.Wait()
					want := c.want + i + 1
					if i == c.want-2 {
						want++ // the newest is answered with it
					}
					if got := h.submitted(); got != want {
						t.Fatalf("%d commands were read after %d answers, want %d", got, i+1, want)
					}
				}
				// What can wait between the two is bounded by gRPC's windows.
				if waiting := (stuck - int64(c.want)) * int64(len(c.payload)+50); waiting > 20<<20 {
					t.Errorf("%d bytes wait for a server that does not read", waiting)
				}
			})
		})
	}
}

func TestPublishMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := start(t, control.Options{Registerer: reg}, &router{})
	s := publish(t, f)
	put(t, s, all("x", "1"), all("x", "2"), all("", "3"), notify("acme", "ann", "", "4"))
	if err := s.Send(&pushdv1.PublishRequest{}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		next(t, s)
	}
	for _, c := range []struct {
		command, code string
		want          float64
	}{
		{"broadcast_all", "OK", 2},
		{"broadcast_all", "InvalidArgument", 1},
		{"notify_user", "OK", 1},
		{"unknown", "InvalidArgument", 1},
		{"send_channel", "OK", 0},
	} {
		if got := value(t, reg, "pushd_control_commands_total", map[string]string{"command": c.command, "code": c.code}); got != c.want {
			t.Errorf("%s %s is %g, want %g", c.command, c.code, got, c.want)
		}
	}
}

// A client that sends and reads at once, on several streams, under the race
// detector.
func TestPublishOrderPerTarget(t *testing.T) {
	const streams, commands = 4, 2000
	r := &router{}
	f := start(t, control.Options{}, r)
	var running sync.WaitGroup
	for i := range streams {
		s := publish(t, f)
		user := fmt.Sprint("u", i)
		running.Go(func() {
			for n := range commands {
				if err := s.Send(asCommand(notify("acme", user, "", fmt.Sprint(n)))); err != nil {
					t.Error(err)
					return
				}
			}
			_ = s.CloseSend()
		})
		running.Go(func() {
			n := 0
			for ; ; n++ {
				if _, err := s.Recv(); err != nil {
					break
				}
			}
			if n != commands {
				t.Errorf("%d answers", n)
			}
		})
	}
	running.Wait()
	seen := make(map[string]int)
	for _, m := range r.published {
		user := m.Target.User().String()
		if want := fmt.Sprintf(`{"type":"notification","data":%d}`, seen[user]); string(m.Payload) != want {
			t.Fatalf("%s: got %s, want %s", user, m.Payload, want)
		}
		seen[user]++
	}
}
