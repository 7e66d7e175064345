package auth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
)

// FuzzVerify feeds any text. What is accepted must carry a text that was
// signed, to the byte.
func FuzzVerify(f *testing.F) {
	// Only keys that are the same in every process of the fuzzer.
	v := newVerifier(f, auth.Options{
		Secrets:       [][]byte{[]byte(testSecret)},
		PublicKeysPEM: [][]byte{publicPEM("ed25519")},
		AllowNoExpiry: true,
	})
	signed := make(map[string]bool)
	ed := jwt.SigningMethodEdDSA
	for _, claims := range []string{
		claimsWith(), claimsWith("exp", ""), claimsWith("exp", at(-time.Hour)), claimsWith("tenantId", "7"),
		claimsWith("channels", `{"join":["a:**"],"publish":["b"]}`, "roles", `["x"]`, "info", `{"a":1}`),
	} {
		for _, token := range []string{
			hs256(goodHeader, claims), sign(ed, signers()["ed25519"].private, headerOf(ed), claims),
		} {
			signed[token[:strings.LastIndexByte(token, '.')]] = true
			f.Add(token)
		}
	}
	for _, tokens := range []map[string]string{forgedShapes(), forgedHeaders()} {
		for _, token := range tokens {
			if len(token) < 8<<10 {
				f.Add(token)
			}
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(token)
		if err != nil {
			checkRefusal(t, p, err)
			// An expired token is rightly signed too.
			if !errors.Is(err, auth.ErrExpired) {
				return
			}
		}
		if end := strings.LastIndexByte(token, '.'); end < 0 || !signed[token[:end]] {
			t.Errorf("accepted what was not signed: %q", token)
		}
	})
}

// FuzzSigned feeds any header and claims, rightly signed. What is accepted must
// hold the invariants of a Principal, and mean the same to an ordinary reader.
func FuzzSigned(f *testing.F) {
	v := newVerifier(f, auth.Options{Secrets: [][]byte{[]byte(testSecret)}, AllowNoExpiry: true})
	f.Add(goodHeader, claimsWith())
	f.Add(goodHeader, `{"tenantId":"t","x":1e700}`)
	f.Add(`{"alg":"HS256","crit":[]}`, claimsWith("exp", ""))
	f.Add(`{"alg":"HS256","typ":"at+jwt"}`, `{"tenantId":"t","sub":"s","role":"r","channels":["a:*"],"info":[1]}`)
	for _, token := range forgedHeaders() {
		if header, claims, err := auth.Inspect(token); err == nil {
			f.Add(string(header), string(claims))
		}
	}
	for _, token := range forgedClaims() {
		if header, claims, err := auth.Inspect(token); err == nil {
			f.Add(string(header), string(claims))
		}
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		p, err := v.Verify(hs256(header, claims))
		if err != nil {
			checkRefusal(t, p, err)
			return
		}
		checkPrincipal(t, p)
		var h, c map[string]any
		readLoosely(t, header, &h)
		readLoosely(t, claims, &c)
		user := c["userId"]
		if user == nil {
			user = c["sub"]
		}
		if name, _ := user.(string); name != p.User.String() {
			t.Errorf("user %q is %v to others", p.User, user)
		}
		if h["alg"] != "HS256" || c["tenantId"] != p.Tenant.String() {
			t.Errorf("alg %v, tenant %q is %v to others", h["alg"], p.Tenant, c["tenantId"])
		}
	})
}

// readLoosely reads text as most programs do. Numbers stay text: JSON has some
// that no float64 holds.
func readLoosely(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatalf("accepted what is no JSON: %v", err)
	}
}

func checkRefusal(t *testing.T, p *auth.Principal, err error) {
	t.Helper()
	if p != nil || errors.Is(err, auth.ErrInvalid) == errors.Is(err, auth.ErrExpired) {
		t.Errorf("got %v, %v", p, err)
	}
}

func checkPrincipal(t *testing.T, p *auth.Principal) {
	t.Helper()
	if _, err := address.ParseTenantID(p.Tenant.String()); err != nil {
		t.Error(err)
	}
	if at := p.ExpiresAt(); !at.IsZero() && !at.After(now) {
		t.Errorf("expired at %s", at)
	}
	d := details(p)
	for i, role := range d.Roles {
		if role == "" || !p.HasRole(role) || i > 0 && d.Roles[i-1] >= role {
			t.Errorf("roles %q", d.Roles)
		}
	}
	if len(d.Roles) > 64 || len(d.Join) > 128 || len(d.Publish) > 128 || len(d.Info) > 1024 {
		t.Error("out of bounds")
	}
	for _, raw := range []json.RawMessage{d.Info, d.Meta} {
		if raw != nil && !json.Valid(raw) {
			t.Errorf("not JSON: %q", raw)
		}
	}
}

// FuzzInspect feeds any text. What is shown must be JSON objects that stand in
// the token.
func FuzzInspect(f *testing.F) {
	for _, tokens := range []map[string]string{forgedShapes(), forgedHeaders()} {
		for _, token := range tokens {
			if len(token) < 8<<10 {
				f.Add(token)
			}
		}
	}
	f.Add(goodToken())
	f.Fuzz(func(t *testing.T, token string) {
		header, claims, err := auth.Inspect(token)
		if err != nil {
			if header != nil || claims != nil {
				t.Error("an error and a result")
			}
			return
		}
		var object map[string]any
		readLoosely(t, string(header), &object)
		readLoosely(t, string(claims), &object)
		if again := encode(string(header), string(claims)); !strings.HasPrefix(token, again+".") {
			t.Errorf("%q is not in %q", again, token)
		}
	})
}
