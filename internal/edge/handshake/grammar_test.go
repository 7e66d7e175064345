package handshake

import (
	"net/url"
	"strings"
	"testing"
)

func TestSingletonOf(t *testing.T) {
	seen := make(map[singleton]bool)
	for _, name := range []string{
		"Host", "Connection", "Upgrade", "Origin", "Authorization", "Content-Length", "Transfer-Encoding", "Expect", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
	} {
		f := singletonOf([]byte(name))
		if f == fieldOther || seen[f] {
			t.Errorf("%s is %d", name, f)
		}
		seen[f] = true
		for _, twin := range []string{strings.ToLower(name), strings.ToUpper(name)} {
			if singletonOf([]byte(twin)) != f {
				t.Errorf("%s is not %s", twin, name)
			}
		}
		for _, other := range []string{name + "s", name[1:], strings.ReplaceAll(name, "-", "_") + "_", "X-" + name} {
			if got := singletonOf([]byte(other)); got != fieldOther {
				t.Errorf("%s is %d", other, got)
			}
		}
	}
	if len(seen) != int(singletons)-1 {
		t.Errorf("%d of %d fields", len(seen), singletons-1)
	}
	for _, other := range []string{"", "Cookie", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec_WebSocket_Key", strings.Repeat("h", 5000)} {
		if got := singletonOf([]byte(other)); got != fieldOther {
			t.Errorf("%s is %d", other, got)
		}
	}
}

// FuzzTokenFromQuery compares with net/url.
func FuzzTokenFromQuery(f *testing.F) {
	for _, s := range []string{
		"", "token=a", "token=%zz&token=b", "%74oken=a+b", "token=a;b&token=c", "a=b&token", "token=&token=x", "&&token==", "token=%2B%26", "to%6ben=%",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if strings.Count(query, "&") > 1000 {
			return // net/url has a bound of its own
		}
		// What it could read it returns, with an error about the rest.
		values, _ := url.ParseQuery(query)
		if got, want := tokenFromQuery(query), values.Get(queryToken); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// FuzzOrigin: an origin has one canonical form, in lower-case ASCII, and
// net/url finds the same parts in it.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{
		"null", "https://example.com", "HTTPS://Example.COM:443", "http://[::1]:80", "http://a:443", "https://a:80", "app+x://y", "https://a/", "https://u@a", "://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		origin, ok := canonicalOrigin(raw)
		if !ok {
			if origin != "" {
				t.Fatalf("refused, and is %q", origin)
			}
			return
		}
		if again, ok := canonicalOrigin(origin); !ok || again != origin && !strings.HasSuffix(origin, ":80") && !strings.HasSuffix(origin, ":443") {
			t.Fatalf("%q became %q", origin, again)
		}
		if origin != strings.ToLower(origin) || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("canonical %q", origin)
		}
		u, err := url.Parse(raw)
		if err != nil || raw == nullOrigin {
			return
		}
		if u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			t.Fatalf("more than an origin: %#v", u)
		}
		if want := u.Scheme + "://" + canonicalAuthority(u.Scheme, u.Host); origin != want {
			t.Fatalf("%q, want %q", origin, want)
		}
	})
}
