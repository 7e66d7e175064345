package bench

import (
	"context"
	"crypto/tls"
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
	// WebSocket is the URL of its client endpoint, ws://HOST[:PORT]/ws or wss://.
	// It may be empty when there are no clients.
	WebSocket string
	// TLS are the settings for wss://, which are copied; the name that the
	// certificate must have is the URL's host unless they say otherwise. Nil: the
	// authorities of the system are trusted.
	TLS *tls.Config
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
	// Store says which messages the server is to store. The zero value leaves it
	// to the server's rules.
	Store pushdv1.Store
	// Stream sends messages as commands of one Publish stream instead of by a
	// call each.
	Stream bool
	// Reads returns how often the server has asked for what is stored. Recover
	// alone needs it.
	Reads func(context.Context) (int64, error)
}

// Pushd is a pushd as a Server. Client n is a user of its own, and all clients
// are members of one channel. Safe for concurrent use.
type Pushd struct {
	api pushdv1.ControlServiceClient
	// commands is nil without a stream.
	commands *commands
	target   Target
	addr     netip.AddrPort
	tls      *tls.Config // nil: it is not spoken
	channel  string
	// request is the upgrade up to the token.
	request string
	join    []byte
	ready   []byte
}

// NewPushd resolves the target, unless that is done. calls reach its Control API and stay the
// caller's. The caller closes what it returns.
func NewPushd(ctx context.Context, t Target, calls grpc.ClientConnInterface) (*Pushd, error) {
	if t.Tenant == "" {
		t.Tenant = "bench"
	}
	if t.TokenLife == 0 {
		t.TokenLife = tokenLife
	}
	p := &Pushd{api: pushdv1.NewControlServiceClient(calls), target: t, channel: "tenant:" + t.Tenant + ":bench"}
	if t.WebSocket != "" {
		if err := p.locate(ctx); err != nil {
			return nil, err
		}
	}
	if t.Stream {
		var err error
		if p.commands, err = openCommands(ctx, p.api); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Close ends the stream of commands, if there is one.
func (p *Pushd) Close() {
	if p.commands != nil {
		p.commands.close()
	}
}

// locate prepares what clients send.
func (p *Pushd) locate(ctx context.Context) error {
	u, err := url.Parse(p.target.WebSocket)
	if err != nil {
		return fmt.Errorf("WebSocket URL: %w", err)
	}
	switch u.Scheme {
	case "ws":
	case "wss":
		p.tls = clientTLS(p.target.TLS, u.Hostname())
	default:
		return fmt.Errorf("WebSocket URL %q must begin with ws:// or wss://", p.target.WebSocket)
	}
	if p.addr, err = resolve(ctx, u, p.target.Addresses); err != nil {
		return err
	}
	p.request = "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + upgradeKey +
		"\r\nAuthorization: Bearer "
	p.join = joining(p.channel, Position{})
	p.ready = []byte(`"type":"channel_joined"`)
	return nil
}

// clientTLS returns the settings of a client of host. Sessions are not resumed:
// each connection is that of a new client, with a whole handshake.
func clientTLS(given *tls.Config, host string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if given != nil {
		c = given.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	c.NextProtos = []string{"http/1.1"} // no WebSocket over HTTP/2
	c.ClientSessionCache = nil
	return c
}

// joining returns the request to join a channel; unless from is zero, with all
// that came after it.
func joining(channel string, from Position) []byte {
	text := `{"type":"join_channel","data":{"channel":` + strconv.Quote(channel)
	if from != (Position{}) {
		text += `,"recover":{"epoch":` + strconv.Quote(from.Epoch) + `,"offset":` + strconv.Quote(from.Offset) + `}`
	}
	return clientFrame(ws.NewTextFrame([]byte(text + `}}`)))
}

// resolve returns the first address of a URL, whose host has these addresses;
// none: they are looked up.
func resolve(ctx context.Context, u *url.URL, ips []netip.Addr) (netip.AddrPort, error) {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "wss" {
			port = "443"
		}
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
func (p *Pushd) Client(i int) (Client, error) { return p.client(i, "", p.join, p.ready) }

// client returns the i-th client with more header fields, and with its request
// to join.
func (p *Pushd) client(i int, header string, join, ready []byte) (Client, error) {
	token, err := auth.Sign(p.target.Secret, auth.Claims{
		Tenant: p.target.Tenant, User: user(i), ExpiresAt: time.Now().Add(p.target.TokenLife),
		Audience: p.target.Audience, Issuer: p.target.Issuer,
	})
	if err != nil {
		return Client{}, fmt.Errorf("sign a token: %w", err)
	}
	c := Client{
		Addr:    p.addr,
		TLS:     p.tls,
		Request: []byte(strings.Join([]string{p.request, token, "\r\n", header, "\r\n"}, "")),
		Join:    join,
		Ready:   ready,
	}
	if ip := p.addr.Addr(); ip.Is4() && ip.IsLoopback() && i >= clientsPerSource {
		c.Source = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i/clientsPerSource)}) //nolint:gosec // Far fewer clients than that.
	}
	return c, nil
}

// Broadcast implements Server by SendChannel.
func (p *Pushd) Broadcast(ctx context.Context, m Message) error {
	_, err := p.sendChannel(ctx, p.channel, m)
	return err
}

func (p *Pushd) sendChannel(ctx context.Context, channel string, m Message) (*pushdv1.SendChannelResponse, error) {
	r := &pushdv1.SendChannelRequest{
		Channel: channel, EventType: eventType, Payload: &pushdv1.SendChannelRequest_Json{Json: m.JSON()},
		Store: p.target.Store,
	}
	if p.commands != nil {
		a, err := p.commands.do(ctx, &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_SendChannel{SendChannel: r}})
		return a.GetSendChannel(), err
	}
	a, err := p.api.SendChannel(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("SendChannel: %w", err)
	}
	return a, nil
}

// Unicast implements Server by NotifyUser.
func (p *Pushd) Unicast(ctx context.Context, i int, m Message) error {
	r := &pushdv1.NotifyUserRequest{
		TenantId: p.target.Tenant, UserId: user(i), Payload: &pushdv1.NotifyUserRequest_Json{Json: m.JSON()},
		Store: p.target.Store,
	}
	if p.commands != nil {
		_, err := p.commands.do(ctx, &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: r}})
		return err
	}
	if _, err := p.api.NotifyUser(ctx, r); err != nil {
		return fmt.Errorf("NotifyUser: %w", err)
	}
	return nil
}

// Process implements Server.
func (p *Pushd) Process() Process { return Process{p.target.PID} }

// user names the i-th client.
func user(i int) string { return "bench-" + strconv.Itoa(i) }
