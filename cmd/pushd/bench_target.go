package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/bench"
)

// connectAllowance is added to the life of tokens, for the time until all
// clients are connected and the last message has arrived.
const connectAllowance = time.Hour

// benchTarget says which pushd is loaded, and in whose name.
type benchTarget struct {
	client client
	url    string
	trust  trust
	// tls is what trust says, when anything speaks TLS; check reads it.
	tls              *tls.Config
	secret           tokenSecret
	key              secret // what secret holds; check reads it
	tenant           string
	audience, issuer string
	pid              int
	allowRemote      bool
	// lookup resolves a host. Nil: the system does.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// addresses are those of the URL's host that check has seen; what is loaded
	// is one of them. None: nothing was checked.
	addresses []netip.Addr
}

// addClientFlags declares what connections need.
func (t *benchTarget) addClientFlags(fs *pflag.FlagSet) {
	addURLFlag(fs, &t.url)
	t.secret.addTo(fs, "HMAC secret of the server, which signs the clients' tokens")
	fs.StringVar(&t.audience, "audience", "", `"aud" of the tokens`)
	fs.StringVar(&t.issuer, "issuer", "", `"iss" of the tokens`)
}

// addCallFlags declares what calls need.
func (t *benchTarget) addCallFlags(fs *pflag.FlagSet) { t.client.addAddressTo(fs) }

func (t *benchTarget) addCommonFlags(fs *pflag.FlagSet) {
	fs.StringVar(&t.tenant, "tenant", "bench", "tenant of the users")
	fs.IntVar(&t.pid, "pid", 0, "process of a server on this machine, whose CPU time is measured; Linux only")
	t.trust.addTo(fs)
	fs.BoolVar(&t.allowRemote, "allow-remote", false, "load a server whose address is not loopback")
}

// check refuses what can't or must not be loaded.
func (t *benchTarget) check(ctx context.Context, r benchRun) error {
	if _, err := address.ParseTenantID(t.tenant); err != nil {
		return usagef("--tenant: %w", err)
	}
	if t.pid < 0 {
		return usagef("--pid must not be negative, not %d", t.pid)
	}
	if _, err := (bench.Process{PID: t.pid}).CPU(); err != nil {
		return usagef("--pid: %w", err)
	}
	var err error
	if t.key, err = t.secret.read(); err != nil {
		return err
	}
	if r.clients > 0 {
		if err := t.checkURL(ctx); err != nil {
			return err
		}
	}
	if err := t.checkTLS(r); err != nil {
		return err
	}
	if r.calls {
		return t.checkServer(ctx)
	}
	return nil
}

// checkTLS gives what is trusted to those who speak TLS.
func (t *benchTarget) checkTLS(r benchRun) (err error) {
	var ways []string // that the command has
	if r.clients > 0 {
		ways = append(ways, "--url wss://")
	}
	if r.calls {
		ways = append(ways, "--tls")
	}
	calls := r.calls && t.client.TLS
	spoken := calls || r.clients > 0 && isSecure(t.url)
	if t.tls, err = t.trust.configIf(spoken, strings.Join(ways, " or ")); err != nil {
		return err
	}
	if calls {
		t.client.trust = t.trust
	}
	return nil
}

func (t *benchTarget) checkURL(ctx context.Context) error {
	u, err := url.Parse(t.url)
	switch {
	case err != nil:
		return usagef("--url: %w", err)
	case u.Scheme != "ws" && u.Scheme != "wss":
		return usagef("--url must begin with ws:// or wss://")
	case u.Hostname() == "":
		return usagef("--url %s has no host", t.url)
	case !t.key.isSet():
		return usagef("a secret is missing: give --secret-file, the one that the server has as --jwt-secret-file")
	}
	t.addresses, err = t.requireLocal(ctx, "url", t.url, u.Hostname())
	return err
}

func (t *benchTarget) checkServer(ctx context.Context) error {
	host, port := splitServer(t.client.Server)
	ips, err := t.requireLocal(ctx, "server", t.client.Server, host)
	if err != nil {
		return err
	}
	if len(ips) > 0 {
		t.client.dial = dialFirst(ips, port)
	}
	return nil
}

// requireLocal refuses a host that is not loopback, unless that is allowed.
// Load on others by mistake is worse than one more flag. It returns the
// addresses that it has seen, so that none is loaded that was not checked; there
// are none when every host is allowed.
func (t *benchTarget) requireLocal(ctx context.Context, flag, value, host string) ([]netip.Addr, error) {
	if t.allowRemote {
		return nil, nil
	}
	ips, err := t.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, value, err)
	}
	if !areLocal(ips) {
		return nil, usagef("--%s %s is not loopback: to load it all the same, give --allow-remote", flag, value)
	}
	return ips, nil
}

// resolve returns the addresses of a host; none for what is no host.
func (t *benchTarget) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	switch {
	case host == "": // as the net package dials it
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	case strings.ContainsAny(host, "/:") && net.ParseIP(host) == nil:
		return nil, nil
	case t.lookup != nil:
		return t.lookup(ctx, host)
	default:
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
}

// areLocal reports whether addresses, of which there must be some, are all
// loopback, or the unspecified one, which is dialled as loopback.
func areLocal(ips []netip.Addr) bool {
	for _, ip := range ips {
		if ip = ip.Unmap(); !ip.IsLoopback() && !ip.IsUnspecified() {
			return false
		}
	}
	return len(ips) > 0
}

// defaultPort is where gRPC looks for a server that is given without a port.
const defaultPort = "443"

// splitServer returns the host and the port of a gRPC target. What is in another
// form than HOST[:PORT] comes back whole; it is no address and no name of a host.
func splitServer(server string) (host, port string) {
	host, port, err := net.SplitHostPort(server)
	if err != nil || strings.Contains(server, "/") {
		return server, defaultPort
	}
	return host, port
}

// dialFirst returns a function that connects to the first of ips that answers.
func dialFirst(ips []netip.Addr, port string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		var errs []error
		for _, ip := range ips {
			conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
}

// open calls do with the target of a run.
func (t *benchTarget) open(ctx context.Context, r benchRun, do func(*bench.Pushd) error) error {
	b := bench.Target{
		Secret: []byte(t.key.reveal()), Tenant: t.tenant, Audience: t.audience, Issuer: t.issuer,
		TokenLife: r.lasts + connectAllowance, PID: t.pid, Store: r.store, Stream: r.stream,
	}
	if r.clients > 0 {
		b.WebSocket, b.Addresses, b.TLS = t.url, t.addresses, t.tls
	}
	with := func(calls grpc.ClientConnInterface) error {
		s, err := bench.NewPushd(ctx, b, calls)
		if err != nil {
			return err
		}
		defer s.Close()
		if r.clients > 0 {
			// What is wrong with the tokens is wrong with the first.
			if _, err := s.Client(0); err != nil {
				return &usageError{err}
			}
		}
		return do(s)
	}
	if !r.calls {
		return with(nil)
	}
	return t.client.session(func(conn *grpc.ClientConn) error { return with(conn) })
}

// explain puts the end of a bench into words: what the server said, and what to
// try.
func (t *benchTarget) explain(err error) error {
	var (
		usage   *usageError
		refused interface {
			error
			GRPCStatus() *status.Status
		}
		closed *bench.ClosedError
	)
	switch {
	case errors.As(err, &usage):
		return err
	case errors.As(err, &refused):
		return t.client.explain(refused)
	case errors.As(err, &closed):
		text := printable(err.Error()) + ": " + closeMeaning(closed.Code)
		if closed.Code >= 4200 && closed.Code < 4300 {
			text += "\n  The tokens are signed with --secret-file: is that a secret of the server? --audience and --issuer must fit too."
		}
		return errors.New(text)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w\n  Is pushd serving at %s? Another address is given by --url.", err, t.url) //nolint:staticcheck,revive // A hint for people.
	default:
		return errors.New(printable(err.Error()) + hintTLS(err))
	}
}
