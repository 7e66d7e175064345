package bench

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/auth"
)

func TestNewPushd(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"ws://127.0.0.1:8080/ws", ""},
		{"ws://[::1]:8080/ws", ""},
		{"ws://127.0.0.1/ws", ""},
		{"", ""},
		{"wss://127.0.0.1/ws", ""},
		{"http://127.0.0.1/ws", "must begin with ws://"},
		{"ws://127.0.0.1:99999/ws", "port"},
		{"ws://%zz", "WebSocket URL"},
	} {
		_, err := NewPushd(t.Context(), Target{WebSocket: c.url}, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
}

// A URL says where to connect, and whether and for whom TLS is spoken.
func TestPushdURLs(t *testing.T) {
	for url, want := range map[string]struct{ addr, host string }{
		"ws://127.0.0.1/ws":       {"127.0.0.1:80", ""},
		"wss://127.0.0.1/ws":      {"127.0.0.1:443", "127.0.0.1"},
		"wss://[::1]:8443/ws":     {"[::1]:8443", "::1"},
		"wss://localhost:8443/ws": {"127.0.0.1:8443", "localhost"},
	} {
		secret := bytes.Repeat([]byte("s"), 32)
		target := Target{WebSocket: url, Secret: secret}
		if want.host == "localhost" {
			target.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		p, err := NewPushd(t.Context(), target, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Client(0)
		if err != nil {
			t.Fatal(err)
		}
		host := ""
		if c.TLS != nil {
			host = c.TLS.ServerName
		}
		if c.Addr.String() != want.addr || host != want.host {
			t.Errorf("%s: %s for %q, want %+v", url, c.Addr, host, want)
		}
	}
}

func TestPushdClients(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 32)
	p, err := NewPushd(t.Context(), Target{WebSocket: "ws://127.0.0.1:8080/ws", Secret: secret, Tenant: "acme", Audience: "aud", Issuer: "iss"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Options{Secrets: [][]byte{secret}, Audience: "aud", Issuer: "iss"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]netip.Addr{
		0: {}, clientsPerSource - 1: {}, clientsPerSource: netip.MustParseAddr("127.0.0.2"), 3*clientsPerSource + 1: netip.MustParseAddr("127.0.0.4"),
	} {
		c, err := p.Client(i)
		if err != nil {
			t.Fatal(err)
		}
		if c.Source != want {
			t.Errorf("client %d comes from %s, want %s", i, c.Source, want)
		}
		_, token, _ := strings.Cut(string(c.Request), "Bearer ")
		token, _, _ = strings.Cut(token, "\r\n")
		who, err := verifier.Verify(token)
		if err != nil || who.Tenant.String() != "acme" || who.User.String() != user(i) {
			t.Errorf("client %d is %v: %v", i, who, err)
		}
	}
	if _, err := (&Pushd{target: Target{Secret: []byte("short")}}).Client(0); err == nil {
		t.Error("signed with a short secret")
	}
}
