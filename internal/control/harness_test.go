package control_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

// patience bounds every wait of these tests.
const patience = time.Minute

// goodKey opens the servers of these tests that have keys.
const goodKey = "correct-horse-battery-staple-0123456789"

// router records what it is given.
type router struct {
	onPublish func(context.Context, *message.Message) error
	onSubmit  func(*message.Message, func(message.Accepted, error)) error
	onRead    func(address.Target, history.Query) (*history.Page, error)
	onStats   func(stats.Query, bool) (*stats.Cluster, error)
	answer    *message.Accepted // nil: no more than the id
	keeps     bool
	away      atomic.Bool // not ready

	mu        sync.Mutex
	published []*message.Message
	asked     int
}

func (r *router) Submit(m *message.Message, done func(message.Accepted, error)) error {
	if r.onSubmit == nil {
		done(r.Publish(context.Background(), m))
		return nil
	}
	r.mu.Lock()
	r.published = append(r.published, m)
	r.mu.Unlock()
	return r.onSubmit(m, done)
}

func (r *router) Keeps(address.Target) bool { return r.keeps }

func (r *router) Read(_ context.Context, t address.Target, q history.Query) (*history.Page, error) {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	if r.onRead != nil {
		return r.onRead(t, q)
	}
	return &history.Page{}, nil
}

func (r *router) Publish(ctx context.Context, m *message.Message) (message.Accepted, error) {
	r.mu.Lock()
	r.published = append(r.published, m)
	r.mu.Unlock()
	if r.onPublish != nil {
		if err := r.onPublish(ctx, m); err != nil {
			return message.Accepted{}, err
		}
	}
	if r.answer != nil {
		return *r.answer, nil
	}
	return message.Accepted{ID: m.ID}, nil
}

func (r *router) Stats(_ context.Context, q stats.Query, fresh bool) (*stats.Cluster, error) {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	if r.onStats != nil {
		return r.onStats(q, fresh)
	}
	return &stats.Cluster{}, nil
}

func (r *router) Ready() bool { return !r.away.Load() }

// calls returns how often the router was called.
func (r *router) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.published) + r.asked
}

func (r *router) last(t *testing.T) *message.Message {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.published) == 0 {
		t.Fatal("nothing was published")
	}
	return r.published[len(r.published)-1]
}

// fixture is a serving server with a client.
type fixture struct {
	server *control.Server
	router *router
	addr   string
	conn   *grpc.ClientConn
	api    pushdv1.ControlServiceClient
	admin  pushdv1.AdminServiceClient
	served chan error // what Serve returned
}

// start serves on a free port until the test ends.
func start(t *testing.T, o control.Options, r *router) *fixture {
	t.Helper()
	server, err := control.NewServer(o, r)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{server: server, router: r, addr: ln.Addr().String(), served: make(chan error, 1)}
	var serving sync.WaitGroup
	serving.Go(func() { f.served <- server.Serve(ln) })
	f.conn, err = grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	f.api, f.admin = pushdv1.NewControlServiceClient(f.conn), pushdv1.NewAdminServiceClient(f.conn)
	t.Cleanup(func() {
		_ = f.conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return f
}

// within returns a context that ends with the test's patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func withKey(ctx context.Context, key string) context.Context {
	return withHeaders(ctx, "authorization", "Bearer "+key)
}

// withHeaders adds one header once for each value.
func withHeaders(ctx context.Context, name string, values ...string) context.Context {
	var pairs []string
	for _, v := range values {
		pairs = append(pairs, name, v)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func mustKeys(t *testing.T, text string) control.Keys {
	t.Helper()
	keys, err := control.ParseKeys(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// told is what a refused caller learns.
type told struct {
	code   codes.Code
	reason string
	fields []string // sorted
	retry  bool
}

func refusal(t *testing.T, err error) told {
	t.Helper()
	st, ok := status.FromError(err)
	if !ok {
		t.Fatalf("no status: %v", err)
	}
	out := told{code: st.Code()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != "pushd" {
				t.Errorf("domain is %q", d.GetDomain())
			}
			out.reason = d.GetReason()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				if v.GetDescription() == "" {
					t.Errorf("%s is refused without a word", v.GetField())
				}
				out.fields = append(out.fields, v.GetField())
			}
		case *errdetails.RetryInfo:
			out.retry = d.GetRetryDelay().AsDuration() > 0
		default:
			t.Errorf("detail %T", d)
		}
	}
	slices.Sort(out.fields)
	return out
}

func checkRefusal(t *testing.T, err error, want told) {
	t.Helper()
	got := refusal(t, err)
	if got.code != want.code || got.reason != want.reason || got.retry != want.retry || !slices.Equal(got.fields, want.fields) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	var none T
	return none
}
