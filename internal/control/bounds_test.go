package control_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
)

// Of HTTP/2: frame types, flags, codes and settings, as RFC 9113 has them.
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	framePing     = 0x6
	frameGoAway   = 0x7

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4

	refusedStream   = 0x7
	enhanceYourCalm = 0xb

	settingStreams = 0x3
	settingHeaders = 0x6

	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

type http2Frame struct {
	kind, flags byte
	stream      uint32
	body        []byte
}

// bareClient speaks HTTP/2 by hand, so that it can do what no gRPC client does.
type bareClient struct {
	t       *testing.T
	conn    net.Conn
	answers bool // pings of the server
	frames  chan http2Frame
	// closed is closed when the server has closed the connection.
	closed chan struct{}
}

// bareServer serves over pipes, in a bubble of synctest.
type bareServer struct {
	t      *testing.T
	server *control.Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func (s *bareServer) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *bareServer) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *bareServer) Addr() net.Addr { return &net.TCPAddr{} }

func startBare(t *testing.T) *bareServer {
	t.Helper()
	server, err := control.NewServer(control.Options{}, &router{})
	if err != nil {
		t.Fatal(err)
	}
	server.SetServing(true)
	s := &bareServer{t: t, server: server, conns: make(chan net.Conn), done: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(s) })
	t.Cleanup(func() {
		if err := server.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s
}

// connect makes a connection of which nothing is sent yet.
func (s *bareServer) connect(answers bool) *bareClient {
	here, there := net.Pipe()
	s.conns <- there
	c := &bareClient{t: s.t, conn: here, answers: answers, frames: make(chan http2Frame, 10_000), closed: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(c.read)
	s.t.Cleanup(func() {
		_ = here.Close()
		reading.Wait()
	})
	return c
}

func (c *bareClient) read() {
	defer close(c.closed)
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c.conn, head); err != nil {
			return
		}
		f := http2Frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
		f.body = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c.conn, f.body); err != nil {
			return
		}
		if f.kind == framePing && f.flags&flagAck == 0 && c.answers {
			c.write(framePing, flagAck, 0, f.body)
		}
		c.frames <- f
	}
}

// write sends a frame; whether the server still takes it is not asked.
func (c *bareClient) write(kind, flags byte, stream uint32, body []byte) {
	n := len(body)
	frame := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	_, _ = c.conn.Write(append(frame, body...))
}

// begin speaks HTTP/2.
func (c *bareClient) begin() {
	_, _ = io.WriteString(c.conn, preface)
	c.write(frameSettings, 0, 0, nil)
}

// watch watches health on a stream, with more metadata of a size.
func (c *bareClient) watch(stream uint32, metadata int) {
	c.open(stream, grpc_health_v1.Health_Watch_FullMethodName, metadata)
	c.write(frameData, flagEndStream, stream, make([]byte, 5)) // an empty message
}

// open begins a call.
func (c *bareClient) open(stream uint32, method string, metadata int) {
	var block bytes.Buffer
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", method},
		{":authority", "test"}, {"content-type", "application/grpc"}, {"te", "trailers"}, {"x", strings.Repeat("x", metadata)},
	} {
		block.WriteByte(0) // a literal that is not indexed
		for _, text := range h {
			block.Write(hpackLength(len(text)))
			block.WriteString(text)
		}
	}
	c.write(frameHeaders, flagEndHeaders, stream, block.Bytes())
}

// hpackLength is a length as RFC 7541 5.1 writes it, with a prefix of 7 bits.
func hpackLength(n int) []byte {
	const most = 127
	if n < most {
		return []byte{byte(n)}
	}
	return binary.AppendUvarint([]byte{most}, uint64(n-most))
}

// next returns the next frame of a kind; false when the connection has ended.
func (c *bareClient) next(kind byte) (http2Frame, bool) {
	for {
		select {
		case f := <-c.frames:
			if f.kind == kind {
				return f, true
			}
			continue
		default:
		}
		select {
		case f := <-c.frames:
			if f.kind == kind {
				return f, true
			}
		case <-c.closed:
			if len(c.frames) == 0 {
				return http2Frame{}, false
			}
		}
	}
}

// wantGoAway waits until the server says goodbye, and returns what it says.
func (c *bareClient) wantGoAway(code uint32) string {
	c.t.Helper()
	f, ok := c.next(frameGoAway)
	if !ok {
		c.t.Fatal("the connection ended without a word")
	}
	if got := binary.BigEndian.Uint32(f.body[4:]); got != code {
		c.t.Errorf("the server says goodbye with %d %q, want %d", got, f.body[8:], code)
	}
	return string(f.body[8:])
}

func TestConnectionsAreBoundedInTime(t *testing.T) {
	for name, c := range map[string]struct {
		answers bool
		speak   func(c *bareClient)
		// the connection must end between these
		least, most time.Duration
	}{
		"says nothing":       {true, func(*bareClient) {}, 5 * time.Second, 5 * time.Second},
		"half a preface":     {true, func(c *bareClient) { _, _ = io.WriteString(c.conn, preface[:10]) }, 5 * time.Second, 5 * time.Second},
		"no settings":        {true, func(c *bareClient) { _, _ = io.WriteString(c.conn, preface) }, 5 * time.Second, 5 * time.Second},
		"no call":            {true, (*bareClient).begin, 15 * time.Minute, 16 * time.Minute},
		"no answer to pings": {false, (*bareClient).begin, 40 * time.Second, time.Minute},
		"a call that goes on": {true, func(c *bareClient) {
			c.begin()
			c.watch(1, 0)
		}, 27 * time.Minute, 36 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := startBare(t).connect(c.answers)
				begin := time.Now()
				c.speak(client)
				<-client.closed
				if took := time.Since(begin); took < c.least || took > c.most {
					t.Errorf("closed after %s, want %s to %s", took, c.least, c.most)
				}
			})
		})
	}
}

func TestPingsAreBounded(t *testing.T) {
	ping := func(c *bareClient, every time.Duration, count int) {
		for range count {
			<-time.After(every)
			c.write(framePing, 0, 0, make([]byte, 8))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		client := startBare(t).connect(true)
		client.begin()
		ping(client, time.Second, 5)
		if said := client.wantGoAway(enhanceYourCalm); said != "too_many_pings" {
			t.Errorf("it says %q", said)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client := startBare(t).connect(true)
		client.begin()
		ping(client, 10*time.Second, 20)
		synctest.Wait()
		select {
		case <-client.closed:
			t.Error("closed for pings that are allowed")
		default:
		}
	})
}

func TestStreamsAndHeadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := startBare(t).connect(true)
		client.begin()
		first, ok := client.next(frameSettings)
		if !ok {
			t.Fatal("no settings")
		}
		settings := make(map[uint16]uint32)
		for s := first.body; len(s) >= 6; s = s[6:] {
			settings[binary.BigEndian.Uint16(s)] = binary.BigEndian.Uint32(s[2:])
		}
		if settings[settingStreams] != 128 || settings[settingHeaders] != 16<<10 {
			t.Errorf("the settings are %v", settings)
		}
		// One call more than a client makes that keeps to them.
		for i := range uint32(129) {
			client.open(2*i+1, pushdv1.ControlService_Publish_FullMethodName, 0)
		}
		f, ok := client.next(frameReset)
		if !ok || binary.BigEndian.Uint32(f.body) != refusedStream {
			t.Errorf("the call that is too many got %+v, %v", f, ok)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		// The block still fits into a frame, but each field counts 32 bytes more.
		for size, fits := range map[int]bool{15 << 10: true, 16100: false} {
			synctest.Test(t, func(t *testing.T) {
				client := startBare(t).connect(true)
				client.begin()
				client.watch(1, size)
				kind := byte(frameReset)
				if fits {
					kind = frameData
				}
				if _, ok := client.next(kind); !ok {
					t.Errorf("metadata of %d bytes: no frame of kind %d", size, kind)
				}
			})
		}
	})
}

func TestWatchesOfOneConnectionAreBounded(t *testing.T) {
	f := start(t, control.Options{}, &router{})
	for range 16 {
		if _, err := watch(t, f, "").Recv(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := watch(t, f, "").Recv()
	checkRefusal(t, err, told{code: codes.ResourceExhausted, reason: "RATE_LIMITED"})

	// Those of another connection are its own.
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := watch(t, &fixture{conn: conn}, "").Recv(); err != nil {
		t.Error(err)
	}
}

// gauge returns the value of a metric without labels.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// dialBare connects to f by TCP and waits for the server, which speaks first. The
// error is that of the wait.
func dialBare(t *testing.T, f *fixture) (net.Conn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	return conn, err
}

// dialKnown connects to f and makes a call that is let in.
func dialKnown(t *testing.T, f *fixture) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := pushdv1.NewControlServiceClient(conn).Stats(withKey(within(t), goodKey), &pushdv1.StatsRequest{}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestConnectionsAreBounded(t *testing.T) {
	const most = 3
	reg := prometheus.NewRegistry()
	f := start(t, control.Options{MaxConnections: most, Registerer: reg, Keys: mustKeys(t, goodKey)}, &router{})
	var open []*grpc.ClientConn
	for range most {
		open = append(open, dialKnown(t, f))
	}
	if got := gauge(t, reg, "pushd_control_connections"); got != most {
		t.Errorf("%g connections are open, want %d", got, most)
	}

	// One that is too many hears nothing.
	if _, err := dialBare(t, f); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v", err)
	}
	health := grpc_health_v1.NewHealthClient(f.conn)
	_, err := health.Check(within(t), &grpc_health_v1.HealthCheckRequest{})
	if got := refusal(t, err); got.code != codes.Unavailable {
		t.Errorf("a call is told %v", err)
	}
	if got := value(t, reg, "pushd_control_connections_refused_total", nil); got < 2 {
		t.Errorf("%g were refused", got)
	}

	// Room that one leaves is there for who tries again.
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := health.Check(within(t), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("there is room, but: %v", err)
	}
	if got := gauge(t, reg, "pushd_control_connections"); got != most {
		t.Errorf("%g connections are open, want %d", got, most)
	}
}

// TestStrangersMakeRoom: who has no key keeps nobody out who has one, whether it
// says nothing, asks for health, or tries keys.
func TestStrangersMakeRoom(t *testing.T) {
	const most = 4
	reg := prometheus.NewRegistry()
	f := start(t, control.Options{MaxConnections: most, Registerer: reg, Keys: mustKeys(t, goodKey)}, &router{})
	known := dialKnown(t, f)
	oldest, err := dialBare(t, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.api.Stats(withKey(within(t), "wrong"), &pushdv1.StatsRequest{}); refusal(t, err).code != codes.Unauthenticated {
		t.Fatalf("a wrong key is told %v", err)
	}
	watching := watch(t, f, "")
	if _, err := watching.Recv(); err != nil {
		t.Fatal(err)
	}
	newest, err := dialBare(t, f)
	if err != nil {
		t.Fatal(err)
	}

	for n := range 3 {
		if got := gauge(t, reg, "pushd_control_connections"); got != most {
			t.Errorf("%g connections are open, want %d", got, most)
		}
		dialKnown(t, f)
		if got := value(t, reg, "pushd_control_connections_refused_total", nil); got != float64(n+1) {
			t.Errorf("%g were refused, want %d", got, n+1)
		}
		switch n { // the oldest goes first
		case 0:
			if _, err := io.Copy(io.Discard, oldest); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the oldest: %v", err)
			}
		case 1:
			if _, err := watching.Recv(); refusal(t, err).code != codes.Unavailable {
				t.Errorf("who watches health is told %v", err)
			}
		case 2:
			if _, err := io.Copy(io.Discard, newest); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the newest: %v", err)
			}
		}
	}
	if _, err := pushdv1.NewControlServiceClient(known).Stats(withKey(within(t), goodKey), &pushdv1.StatsRequest{}); err != nil {
		t.Errorf("who was known is told %v", err)
	}
	if _, err := dialBare(t, f); !errors.Is(err, io.EOF) {
		t.Errorf("all are known, but one more: %v", err)
	}
}
