package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// patience bounds every wait.
	patience = time.Minute
	secret   = "0123456789abcdef0123456789abcdef"
)

// env is a server with a fake bus. At the end of the test it is drained, and
// all that it counted must be back at zero.
type env struct {
	hub     *edge.Hub
	server  *edge.Server
	bus     *fakeBus
	shelf   *shelf // nil: the server keeps nothing
	metrics *prometheus.Registry
	addr    string

	serving   sync.WaitGroup
	drainOnce sync.Once
	drainErr  error
}

// tweak changes the options of a test's server.
type tweak func(*edge.Options)

// drivers are the driver of this system and the one that serves every system.
func drivers() map[string]func(sync.Locker) (poll.Driver, error) {
	return map[string]func(sync.Locker) (poll.Driver, error){
		"default":   poll.New,
		"goroutine": goroutines,
	}
}

// goroutines makes the driver that serves every system. It is the one for a bubble
// of synctest: a goroutine that waits for the kernel would stop the test's clock.
func goroutines(l sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(l), nil }

// newPipeEnv makes a server for a bubble of synctest, and the listener into which
// its connections are put.
func newPipeEnv(t *testing.T, change tweak) (*env, *chanListener) {
	t.Helper()
	e := newQuietEnv(t, func(o *edge.Options) {
		o.NewDriver = goroutines
		if change != nil {
			change(o)
		}
	})
	ln := newChanListener()
	e.serve(t, ln)
	return e, ln
}

// knock sends an upgrade on a connection in memory and returns the answer, and
// what comes behind it.
func (l *chanListener) knock(t *testing.T, remote, token string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn := l.pipe(remote)
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, rawHead("/ws", token)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, r, answer
}

// onEachDriver runs a test with each driver, at the same time.
func onEachDriver(t *testing.T, change tweak, run func(*testing.T, *env)) {
	t.Helper()
	for name, driver := range drivers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newEnv(t, func(o *edge.Options) {
				o.NewDriver = driver
				if change != nil {
					change(o)
				}
			}))
		})
	}
}

// onEachKeepingDriver is onEachDriver for a server that keeps the channel
// tenant:acme:kept.
func onEachKeepingDriver(t *testing.T, change tweak, run func(*testing.T, *env)) {
	t.Helper()
	for name, driver := range drivers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := newShelf()
			kept.change("keep tenant:acme:kept")
			e := newKeepingEnv(t, kept, func(o *edge.Options) {
				o.NewDriver = driver
				if change != nil {
					change(o)
				}
			})
			e.shelf = kept
			e.listen(t)
			run(t, e)
		})
	}
}

// newEnv starts a server on a free port.
func newEnv(t testing.TB, change tweak) *env {
	t.Helper()
	e := newQuietEnv(t, change)
	e.listen(t)
	return e
}

// listen serves on a free port.
func (e *env) listen(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr().String()
	e.serve(t, ln)
}

// newQuietEnv makes a server that listens nowhere and keeps nothing.
func newQuietEnv(t testing.TB, change tweak) *env {
	t.Helper()
	return newKeepingEnv(t, nil, change)
}

// newKeepingEnv is newQuietEnv for a server with a history.
func newKeepingEnv(t testing.TB, kept edge.History, change tweak) *env {
	t.Helper()
	e := &env{metrics: prometheus.NewRegistry()}
	o := edge.DefaultOptions()
	o.Loops = 2
	o.DrainWindow = 0
	o.InboundBurst = 100_000
	// Nobody is pinged, or closed for taking his time, but where that is the test.
	o.PingInterval, o.IdleTimeout = time.Hour, 2*time.Hour
	o.OutboundMaxAge, o.MessageTimeout, o.Handshake.Timeout = time.Hour, time.Hour, patience
	o.Registerer = e.metrics
	if change != nil {
		change(&o)
	}
	hub, err := edge.NewHub(o)
	if err != nil {
		t.Fatal(err)
	}
	e.hub, e.bus = hub, newFakeBus(hub)
	verifier, err := auth.NewVerifier(auth.Options{Secrets: [][]byte{[]byte(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	if e.server, err = edge.NewServer(hub, verifier, e.bus, kept, mux); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.stop(t) })
	return e
}

// serve accepts from ln until the end of the test.
func (e *env) serve(t testing.TB, ln net.Listener) {
	e.serving.Go(func() {
		if err := e.server.Serve(ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// drain drains the server, once.
func (e *env) drain(ctx context.Context) error {
	e.drainOnce.Do(func() { e.drainErr = e.server.Drain(ctx) })
	return e.drainErr
}

func (e *env) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e.server.CloseNow()
	// A test that drained on its own has looked at the error.
	e.drainOnce.Do(func() {
		if err := e.server.Drain(ctx); err != nil {
			t.Errorf("drain at the end: %v", err)
		}
	})
	e.serving.Wait()
	e.hub.Close()
	e.bus.stop()
	e.bus.check(t)
	now := e.hub.Totals()
	if now.Connections != 0 || now.Users != 0 || now.Tenants != 0 || now.Channels != 0 {
		t.Errorf("at the end there are %+v", now)
	}
	// Each connection that was counted in was counted out, and each loss has a
	// reason.
	if opened, closed := e.sum(t, "pushd_edge_opened_total"), e.sum(t, "pushd_edge_closed_total"); opened != closed {
		t.Errorf("%g opened, %g closed", opened, closed)
	}
	if reasons := e.sum(t, "pushd_edge_dropped_total"); reasons != float64(now.Dropped) {
		t.Errorf("%d dropped, %g with a reason", now.Dropped, reasons)
	}
}

// sum returns the sum of a counter over its labels.
func (e *env) sum(t testing.TB, name string) float64 {
	t.Helper()
	families, err := e.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// metric returns the value of the counter with this name whose first label has
// this value; an empty one takes the first there is.
func (e *env) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	if label == "" {
		return e.metricOf(t, name)
	}
	return e.metricOf(t, name, label)
}

// metricOf returns the value of the first counter with this name whose labels,
// sorted by their names, begin with these values.
func (e *env) metricOf(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := e.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			values := make([]string, 0, 2)
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if len(values) >= len(labels) && slices.Equal(values[:len(labels)], labels) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := harness.Eventually(ctx, func(context.Context) error { return try() }); err != nil {
		t.Fatal(err)
	}
}

// awaitConnections waits until the server counts n connections.
func (e *env) awaitConnections(t testing.TB, n uint64) {
	t.Helper()
	eventually(t, func() error {
		if got := e.hub.Totals().Connections; got != n {
			return fmt.Errorf("%d connections, want %d", got, n)
		}
		return nil
	})
}

// who is what a test's token says. The zero who is a member of tenant acme.
type who struct {
	tenant, user string
	roles        []string
	channels     []string
	// expires is when the token ends; zero: in an hour.
	expires time.Time
}

func token(t testing.TB, w who) string {
	t.Helper()
	if w.tenant == "" {
		w.tenant = "acme"
	}
	if w.expires.IsZero() {
		w.expires = time.Now().Add(time.Hour)
	}
	text, err := auth.Sign([]byte(secret), auth.Claims{
		Tenant: w.tenant, User: w.user, Roles: w.roles, Channels: w.channels, ExpiresAt: w.expires,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// client is a connection whose faults end the test.
type client struct {
	*harness.Socket
	t testing.TB
	// dialect is what it speaks.
	dialect string
	// closed is how it ended, once end has seen that.
	closed *harness.Closed
}

func (e *env) url(path string) string { return "ws://" + e.addr + path }

// dial opens a connection and reads the first message.
func (e *env) dial(t testing.TB, w who) *client {
	t.Helper()
	return e.dialAs(t, "", w)
}

// dialAs is dial in a dialect; empty: none is offered.
func (e *env) dialAs(t testing.TB, dialect string, w who) *client {
	t.Helper()
	c := e.upgradeAs(t, dialect, "/ws", token(t, w))
	c.ID = c.expect("connection").Field("connectionId")
	return c
}

// upgrade opens a connection and reads nothing.
func (e *env) upgrade(t testing.TB, path, token string) *client {
	t.Helper()
	return e.upgradeAs(t, "", path, token)
}

// upgradeAs is upgrade in a dialect; empty: none is offered.
func (e *env) upgradeAs(t testing.TB, dialect, path, token string) *client {
	t.Helper()
	var header http.Header
	if dialect != "" {
		header = http.Header{"Sec-Websocket-Protocol": {dialect}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := harness.Upgrade(ctx, e.url(path), token, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &client{Socket: s, t: t, dialect: dialect}
}

func (c *client) send(text string) {
	c.t.Helper()
	f := ws.NewTextFrame([]byte(text))
	if c.dialect == protoDialect {
		f = ws.NewBinaryFrame(protoRequests(c.t, text))
	}
	if err := c.SendFrame(f); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() harness.Message {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := c.Next(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if (m.Binary != nil) != (c.dialect == protoDialect) {
		c.t.Fatalf("binary %q to a client of %q", m.Binary, c.dialect)
	}
	if m.Binary != nil {
		return protoAnswer(c.t, m.Binary)
	}
	return m
}

func (c *client) expect(kind string) harness.Message {
	c.t.Helper()
	m := c.next()
	if m.Type != kind {
		c.t.Fatalf("got %s, want type %s", m.Text, kind)
	}
	return m
}

// expectText wants these very bytes.
func (c *client) expectText(want string) {
	c.t.Helper()
	if m := c.next(); m.Text != want {
		c.t.Fatalf("got  %s\nwant %s", m.Text, want)
	}
}

// expectError wants an error with this code.
func (c *client) expectError(code string) harness.Message {
	c.t.Helper()
	m := c.expect("error")
	if m.Field("code") != code {
		c.t.Fatalf("got %s, want code %s", m.Text, code)
	}
	return m
}

func (c *client) join(channel string) {
	c.t.Helper()
	c.send(request("join_channel", `"channel":`+quote(channel)))
	if m := c.expect("channel_joined"); m.Field("channel") != channel {
		c.t.Fatalf("joined %s", m.Text)
	}
}

func (c *client) leave(channel string) {
	c.t.Helper()
	c.send(request("leave_channel", `"channel":`+quote(channel)))
	c.expect("channel_left")
}

// until reads until a message of this type and returns what came before it.
func (c *client) until(kind string) []string {
	c.t.Helper()
	var before []string
	for {
		m := c.next()
		if m.Type == kind {
			return before
		}
		before = append(before, m.Text)
	}
}

// fence reads until the answer to a ping of its own and returns what came
// before.
func (c *client) fence() []string {
	c.t.Helper()
	c.send(`{"type":"ping","id":"fence"}`)
	var before []string
	for {
		m := c.next()
		if m.Type == "pong" && m.ID == "fence" {
			return before
		}
		before = append(before, m.Text)
	}
}

// quiet wants nothing to come.
func (c *client) quiet() {
	c.t.Helper()
	if got := c.fence(); len(got) > 0 {
		c.t.Fatalf("got %s, want nothing", strings.Join(got, "\n"))
	}
}

// end reads until the close frame and goes. The end of the stream must follow,
// in order and with nothing between.
func (c *client) end() *harness.Closed {
	c.t.Helper()
	if c.closed != nil {
		return c.closed
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	closed, err := c.AwaitClose(ctx)
	if err != nil {
		c.t.Fatalf("no close frame: %v", err)
	}
	c.closed = closed
	if m, err := c.Next(ctx); !errors.Is(err, io.EOF) {
		c.t.Fatalf("after the close frame came %q, %v", m.Text, err)
	}
	c.hangUp()
	return closed
}

func (c *client) expectClose(code ws.StatusCode) *harness.Closed {
	c.t.Helper()
	closed := c.end()
	if closed.Code != code {
		c.t.Fatalf("%v, want %d", closed, code)
	}
	return closed
}

// hangUp cuts the connection.
func (c *client) hangUp() {
	c.t.Helper()
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// request makes a command whose data has these members.
func request(kind, members string) string {
	return `{"type":"` + kind + `","data":{` + members + `}}`
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func tenantTarget(tenant string) address.Target {
	return must(address.TenantTarget(must(address.ParseTenantID(tenant))))
}

func userTarget(tenant, user string) address.Target {
	return must(address.UserTarget(must(address.ParseTenantID(tenant)), must(address.ParseUserID(user))))
}

func channelTarget(tenant, channel string) address.Target {
	return must(address.ChannelTarget(must(address.ParseTenantID(tenant)), must(address.ParseChannel(channel))))
}

// deliver hands the hub a message as the cluster does.
func (e *env) deliver(t address.Target, payload string) {
	e.hub.Deliver(&message.Message{ID: message.NewID(), Target: t, Payload: []byte(payload)})
}

// refused dials and wants an HTTP status instead of an upgrade.
func (e *env) refused(t testing.TB, w who, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := harness.Upgrade(ctx, e.url("/ws"), token(t, w), nil)
	var bad ws.StatusError
	if err == nil {
		_ = s.Close()
		t.Fatalf("upgraded, want status %d", status)
	}
	if !errors.As(err, &bad) || int(bad) != status {
		t.Fatalf("%v, want status %d", err, status)
	}
}
