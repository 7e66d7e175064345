package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/auth"
)

const (
	// eventType is the type of what Fanout sends.
	eventType = "bench"
	// tokenLife is how long the tokens of a scenario hold, unless a target says
	// otherwise.
	tokenLife = time.Hour
	// clientsPerSource is how many clients share a source address on loopback:
	// an address has about 28 000 ports to connect from.
	clientsPerSource = 20_000
)

// Target says which pushd is loaded.
type Target struct {
	// WebSocket is the URL of its client endpoint, ws://HOST[:PORT]/ws. TLS is
	// not offered: it would measure the generator's. It may be empty when there
	// are no clients.
	WebSocket string
	// Addresses are those of its host, when the caller has resolved it; the first
	// is loaded. Empty: NewPushd resolves it.
	Addresses []netip.Addr
	// Secret signs the clients' tokens, HS256, at least 32 bytes.
	Secret []byte
	// Tenant is whom the clients belong to. Default "bench".
	Tenant string
	// Audience and Issuer stand in the tokens; they may be empty.
	Audience, Issuer string
	// TokenLife is how long the tokens hold. Default 1 h.
	TokenLife time.Duration
	// PID is its process, when it runs on this machine; 0 otherwise.
	PID int
}

// Pushd is a pushd as a Server. Client n is a user of its own, and all clients
// are members of one channel. Safe for concurrent use.
type Pushd struct {
	api     pushdv1.ControlServiceClient
	target  Target
	addr    netip.AddrPort
	channel string
	// request is the upgrade up to the token.
	request string
	join    []byte
	ready   []byte
}

// NewPushd resolves the target, unless that is done. calls reach its Control API and stay the
// caller's.
func NewPushd(ctx context.Context, t Target, calls grpc.ClientConnInterface) (*Pushd, error) {
	if t.Tenant == "" {
		t.Tenant = "bench"
	}
	if t.TokenLife == 0 {
		t.TokenLife = tokenLife
	}
	p := &Pushd{api: pushdv1.NewControlServiceClient(calls), target: t, channel: "tenant:" + t.Tenant + ":bench"}
	if t.WebSocket == "" {
		return p, nil
	}
	u, err := url.Parse(t.WebSocket)
	if err != nil {
		return nil, fmt.Errorf("WebSocket URL: %w", err)
	}
	if u.Scheme != "ws" {
		return nil, fmt.Errorf("WebSocket URL %q must begin with ws://", t.WebSocket)
	}
	if p.addr, err = resolve(ctx, u, t.Addresses); err != nil {
		return nil, err
	}
	p.request = "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + upgradeKey +
		"\r\nAuthorization: Bearer "
	p.join = clientFrame(ws.NewTextFrame([]byte(
		`{"type":"join_channel","data":{"channel":` + strconv.Quote(p.channel) + `}}`)))
	p.ready = []byte(`"type":"channel_joined"`)
	return p, nil
}

// resolve returns the first address of a URL, whose host has these addresses;
// none: they are looked up.
func resolve(ctx context.Context, u *url.URL, ips []netip.Addr) (netip.AddrPort, error) {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port of %s: %w", u.Host, err)
	}
	if len(ips) == 0 {
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil {
			return netip.AddrPort{}, fmt.Errorf("address of %s: %w", u.Host, err)
		}
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(number)), nil
}

// Client implements Server.
func (p *Pushd) Client(i int) (Client, error) {
	token, err := auth.Sign(p.target.Secret, auth.Claims{
		Tenant: p.target.Tenant, User: user(i), ExpiresAt: time.Now().Add(p.target.TokenLife),
		Audience: p.target.Audience, Issuer: p.target.Issuer,
	})
	if err != nil {
		return Client{}, fmt.Errorf("sign a token: %w", err)
	}
	c := Client{
		Addr:    p.addr,
		Request: []byte(strings.Join([]string{p.request, token, "\r\n\r\n"}, "")),
		Join:    p.join,
		Ready:   p.ready,
	}
	if ip := p.addr.Addr(); ip.Is4() && ip.IsLoopback() && i >= clientsPerSource {
		c.Source = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i/clientsPerSource)}) //nolint:gosec // Far fewer clients than that.
	}
	return c, nil
}

// Broadcast implements Server by SendChannel.
func (p *Pushd) Broadcast(ctx context.Context, m Message) error {
	_, err := p.api.SendChannel(ctx, &pushdv1.SendChannelRequest{
		Channel: p.channel, EventType: eventType, Payload: &pushdv1.SendChannelRequest_Json{Json: m.JSON()},
	})
	if err != nil {
		return fmt.Errorf("SendChannel: %w", err)
	}
	return nil
}

// Unicast implements Server by NotifyUser.
func (p *Pushd) Unicast(ctx context.Context, i int, m Message) error {
	_, err := p.api.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
		TenantId: p.target.Tenant, UserId: user(i), Payload: &pushdv1.NotifyUserRequest_Json{Json: m.JSON()},
	})
	if err != nil {
		return fmt.Errorf("NotifyUser: %w", err)
	}
	return nil
}

// Process implements Server.
func (p *Pushd) Process() Process { return Process{p.target.PID} }

// user names the i-th client.
func user(i int) string { return "bench-" + strconv.Itoa(i) }
