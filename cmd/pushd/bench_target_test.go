package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/aegisx/pushd/internal/bench"
)

func TestRequireLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true, "": true, "0.0.0.0": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "2001:db8::1": false, "dns:///localhost:9090": false, "10.0.0.1": false,
	} {
		b := &benchTarget{}
		got, err := b.requireLocal(t.Context(), "url", host, host)
		if want != (err == nil && len(got) > 0) || !want && !strings.Contains(err.Error(), "--allow-remote") {
			t.Errorf("%q: got %v, %v", host, got, err)
		}
		b.allowRemote = true
		if got, err := b.requireLocal(t.Context(), "url", host, host); err != nil || got != nil {
			t.Errorf("%q, allowed: got %v, %v", host, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := (&benchTarget{}).requireLocal(ctx, "url", "x", "name.invalid"); got != nil || err == nil {
		t.Errorf("a name that is not found: %v, %v", got, err)
	}
	mixed := &benchTarget{lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}, nil
	}}
	if got, err := mixed.requireLocal(t.Context(), "url", "x", "name.invalid"); got != nil || err == nil {
		t.Errorf("a name that is this machine among others: %v, %v", got, err)
	}
}

// What was checked is what is loaded: each host is resolved once, to an address
// that nobody else finds under its name.
func TestBenchResolvesOnce(t *testing.T) {
	_, at, _ := startNode(t)
	_, httpPort, err := net.SplitHostPort(at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	_, grpcPort, err := net.SplitHostPort(at.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	b := &benchTarget{
		client: client{Server: "api.invalid:" + grpcPort}, url: "ws://push.invalid:" + httpPort + "/ws", tenant: "bench",
		secret: tokenSecret{direct: newSecret(testSecret)},
		lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			asked = append(asked, host)
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}
	r := benchRun{clients: 1, calls: true}
	if err := b.check(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	err = b.open(t.Context(), r, func(p *bench.Pushd) error {
		_, err := bench.Fanout(t.Context(), p, bench.TrafficOptions{
			Clients: 1, PayloadBytes: 128, InFlight: 1, Duration: 10 * time.Millisecond,
		})
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if want := []string{"push.invalid", "api.invalid"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestDialFirst(t *testing.T) {
	_, at, _ := startNode(t)
	_, port, err := net.SplitHostPort(at.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	silent, good := netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")
	conn, err := dialFirst([]netip.Addr{silent, good}, port)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); got != at.GRPC {
		t.Errorf("connected to %s, want %s", got, at.GRPC)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := dialFirst([]netip.Addr{good}, "1")(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestSplitServer(t *testing.T) {
	for server, want := range map[string][2]string{
		"127.0.0.1:9090": {"127.0.0.1", "9090"}, "[::1]:9090": {"::1", "9090"}, ":9090": {"", "9090"}, "host": {"host", "443"},
		"unix:///run/x": {"unix:///run/x", "443"},
	} {
		if host, port := splitServer(server); host != want[0] || port != want[1] {
			t.Errorf("%s: got %q and %q, want %q", server, host, port, want)
		}
	}
}

func TestBenchExplain(t *testing.T) {
	b := &benchTarget{url: "ws://x/ws", client: client{Server: "y:1"}}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"refused call": {
			fmt.Errorf("send a message: NotifyUser: %w", status.Error(codes.ResourceExhausted, "too \x1bmuch")), `too \u001bmuch (ResourceExhausted)`,
		},
		"closed":    {fmt.Errorf("connect: %w", &bench.ClosedError{Code: 4101, Reason: "slow"}), `connect: the server closed a connection with 4101 "slow": back off, then reconnect`},
		"bad usage": {usagef("--x"), "--x"},
		"refused":   {fmt.Errorf("connect: %w", syscall.ECONNREFUSED), "connect: connection refused\n  Is pushd serving at ws://x/ws? Another address is given by --url."},
		"foreign":   {errors.New("the server said \x1b[2J"), `the server said \u001b[2J`},
	} {
		if got := b.explain(c.err).Error(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
