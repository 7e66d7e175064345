package handshake_test

import (
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// TestOrigins is the matrix against pages that connect in the name of a user
// who only looks at them.
func TestOrigins(t *testing.T) {
	list := []string{
		"https://app.example.com", "HTTP://Dev.Example.com:3000", "https://[2001:db8::1]:8443", "http://plain.example:80", "app+x://wails.localhost",
	}
	const (
		host     = "example.com"
		ipv6Host = "[::1]:8080"
	)
	for _, c := range []struct {
		name   string
		allow  []string
		any    bool
		host   string
		origin string
		want   bool
	}{
		{"same host", nil, false, host, "https://example.com", true},
		{"same host in plain", nil, false, host, "http://example.com", true},
		{"same host, other case", nil, false, "Example.COM", "HTTPS://eXample.com", true},
		{"same host, same port", nil, false, "example.com:8080", "http://example.com:8080", true},
		{"same host, default port in Origin", nil, false, host, "http://example.com:80", true},
		{"same host, default port in Host", nil, false, "example.com:443", "https://example.com", true},
		{"same host, both default ports", nil, false, "example.com:443", "https://example.com:443", true},
		{"same host, port of the other scheme", nil, false, host, "http://example.com:443", false},
		{"same host, other scheme's default in Host", nil, false, "example.com:443", "http://example.com", false},
		{"same host, 80 is not default for https", nil, false, "example.com:80", "https://example.com", false},
		{"same host, other port", nil, false, host, "http://example.com:8080", false},
		{"same host, no port", nil, false, "example.com:8080", "http://example.com", false},
		{"same host, port with a zero", nil, false, host, "http://example.com:080", false},
		{"same host, empty port", nil, false, host, "http://example.com:", false},
		{"same host, port that begins alike", nil, false, "example.com:80", "http://example.com:8080", false},
		{"same host, trailing dot", nil, false, host, "https://example.com.", false},
		{"subdomain", nil, false, host, "https://sub.example.com", false},
		{"parent", nil, false, "sub.example.com", "https://example.com", false},
		{"suffix attack", nil, false, host, "https://evilexample.com", false},
		{"prefix attack", nil, false, host, "https://example.com.evil.org", false},
		{"user name attack", nil, false, host, "https://example.com@evil.org", false},
		{"user name", nil, false, host, "https://user@example.com", false},
		{"path", nil, false, host, "https://example.com/", false},
		{"longer path", nil, false, host, "https://example.com/https://example.com", false},
		{"query", nil, false, host, "https://example.com?", false},
		{"fragment", nil, false, host, "https://example.com#", false},
		{"backslash", nil, false, host, `https://example.com\.evil.org`, false},
		{"two origins in one", nil, false, host, "https://example.com https://evil.org", false},
		{"two origins with a comma", nil, false, host, "https://example.com, https://evil.org", false},
		{"no scheme", nil, false, host, "example.com", false},
		{"no slashes", nil, false, host, "https:example.com", false},
		{"empty scheme", nil, false, host, "://example.com", false},
		{"scheme of no page", nil, false, host, "ws://example.com", false},
		{"extension", nil, false, host, "chrome-extension://example.com", false},
		{"scheme with a digit first", nil, false, host, "1http://example.com", false},
		{"null", nil, false, host, "null", false},
		{"null as host", nil, false, "null", "null", false},
		{"NULL", nil, false, host, "NULL", false},
		{"file", nil, false, host, "file://", false},
		{"file with a host", nil, false, host, "file://example.com", false},
		{"empty", nil, false, host, "", false},
		{"blank", nil, false, host, " ", false},
		{"homograph", nil, false, host, "https://ex\u0430mple.com", false},
		{"long s", nil, false, "sample.com", "https://\u017fample.com", false},
		{"kelvin", nil, false, "k.example", "https://\u212a.example", false},
		{"fullwidth", nil, false, host, "https://example\uff0ecom", false},
		{"percent", nil, false, host, "https://ex%61mple.com", false},
		{"punycode", nil, false, "xn--bcher-kva.example", "https://xn--bcher-kva.example", true},
		{"punycode of another", nil, false, "bcher.example", "https://xn--bcher-kva.example", false},
		{"IPv6", nil, false, ipv6Host, "http://[::1]:8080", true},
		{"IPv6, other case", nil, false, "[2001:DB8::a]", "https://[2001:db8::A]", true},
		{"IPv6, default port", nil, false, "[::1]", "http://[::1]:80", true},
		{"IPv6 that ends like a port", nil, false, "[::]", "http://[::80]", false},
		{"IPv6, other port", nil, false, ipv6Host, "http://[::1]:80", false},
		{"IPv6, written otherwise", nil, false, ipv6Host, "http://[0:0::1]:8080", false},
		{"IPv6 without brackets", nil, false, ipv6Host, "http://::1:8080", false},
		{"IPv4", nil, false, "127.0.0.1:80", "http://127.0.0.1", true},
		{"IPv4 as a number", nil, false, "127.0.0.1", "http://2130706433", false},

		{"listed", list, false, host, "https://app.example.com", true},
		{"listed, default port", list, false, host, "https://app.example.com:443", true},
		{"listed, other case in the list", list, false, host, "http://dev.example.com:3000", true},
		{"listed with a default port", list, false, host, "http://plain.example", true},
		{"listed IPv6", list, false, host, "https://[2001:DB8::1]:8443", true},
		{"listed scheme of an application", list, false, host, "app+x://wails.localhost", true},
		{"listed, other scheme", list, false, host, "http://app.example.com", false},
		{"listed, other port", list, false, host, "https://app.example.com:8443", false},
		{"listed, no port", list, false, host, "http://dev.example.com", false},
		{"listed, subdomain", list, false, host, "https://x.app.example.com", false},
		{"listed, suffix attack", list, false, host, "https://evil-app.example.com", false},
		{"listed, prefix attack", list, false, host, "https://app.example.com.evil.org", false},
		{"listed, path", list, false, host, "https://app.example.com/", false},
		{"same host is not listed", list, false, host, "https://example.com", false},
		{"null is not listed", list, false, host, "null", false},
		{"empty is not listed", list, false, host, "", false},
		{"null is listed", []string{"null"}, false, host, "null", true},
		{"only null is listed", []string{"null"}, false, host, "https://example.com", false},

		{"any", nil, true, host, "https://evil.example", true},
		{"any, null", nil, true, host, "null", true},
		{"any, empty", nil, true, host, "", true},
		{"any, nonsense", nil, true, host, "\xff", true},
		{"any beats the list", list, true, host, "https://evil.example", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHandshaker(t, handshake.Options{AllowOrigins: c.allow, AnyOrigin: c.any})
			text := upgradeHead().set("Host: "+c.host, "Origin: "+c.origin).String()
			if c.want {
				expectUpgrade(t, h, text)
			} else if v := expectRefusal(t, h, text, handshake.ReasonOrigin); v.status != 403 {
				t.Errorf("status %d", v.status)
			}
		})
	}
}

// TestOriginOnce: who sends two is neither.
func TestOriginOnce(t *testing.T) {
	for name, o := range map[string]handshake.Options{
		"same host": {}, "any": {AnyOrigin: true}, "listed": {AllowOrigins: []string{"https://example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandshaker(t, o)
			good, evil := "Origin: https://example.com", "Origin: https://evil.example"
			for _, two := range [][]string{{good, evil}, {evil, good}, {good, good}, {good, "origin:"}} {
				expectRefusal(t, h, upgradeHead().add(two...).String(), handshake.ReasonDuplicate)
			}
			expectUpgrade(t, h, upgradeHead().add(good).String())
			// No browser leaves it out.
			expectUpgrade(t, h, upgradeHead().String())
		})
	}
}
