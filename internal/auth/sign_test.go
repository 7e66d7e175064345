package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/auth"
)

func TestSign(t *testing.T) {
	for name, c := range map[string]struct {
		claims auth.Claims
		want   string
	}{
		"all": {
			auth.Claims{
				Tenant: "acme", User: "ann", Roles: []string{"b", "a"}, Channels: []string{"orders:*"},
				Audience: "app", Issuer: "us", IssuedAt: now.Add(time.Millisecond), ExpiresAt: now.Add(time.Hour),
			},
			fmt.Sprintf(`{"tenantId":"acme","userId":"ann","roles":["b","a"],"channels":["orders:*"],"aud":"app","iss":"us","iat":%s,"exp":%s}`,
				at(0), at(time.Hour)),
		},
		"least":   {auth.Claims{Tenant: "acme"}, `{"tenantId":"acme"}`},
		"nothing": {auth.Claims{Roles: []string{}, Channels: []string{}}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := auth.Sign([]byte(testSecret), c.claims)
			if err != nil {
				t.Fatal(err)
			}
			header, claims, err := auth.Inspect(token)
			if err != nil || string(header) != goodHeader || string(claims) != c.want {
				t.Errorf("got %s %s %v\nwant %s", header, claims, err, c.want)
			}
		})
	}
}

func TestSignedTokenVerifies(t *testing.T) {
	token, err := auth.Sign([]byte(testSecret), auth.Claims{
		Tenant: "acme", User: "ann", Roles: []string{"b", "a"}, Channels: []string{"orders:*"},
		Audience: "app-audience", Issuer: "https://issuer.example", IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := fullVerifier(t).Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(p, p.Details.Roles, p.Details.Join, p.Details.Publish, p.ExpiresAt().Equal(now.Add(time.Hour)))
	if want := "ann of acme [a b] [orders:*] [orders:*] true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Without Options.Now the time is the machine's.
func TestOwnClock(t *testing.T) {
	v, err := auth.NewVerifier(auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	for ttl, want := range map[time.Duration]error{time.Hour: nil, -time.Hour: auth.ErrExpired} {
		token, err := auth.Sign([]byte(testSecret), auth.Claims{Tenant: "acme", ExpiresAt: time.Now().Add(ttl)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(token); !errors.Is(err, want) {
			t.Errorf("%s: got %v", ttl, err)
		}
	}
}

func TestSignRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		claims auth.Claims
		want   string
	}{
		"no secret":    {"", auth.Claims{Tenant: "acme"}, "at least 32 bytes"},
		"short secret": {testSecret[1:], auth.Claims{Tenant: "acme"}, "at least 32 bytes"},
		"public key":   {string(publicPEM("rsa")), auth.Claims{Tenant: "acme"}, "PEM text"},
		"bad UTF-8":    {testSecret, auth.Claims{Tenant: "\xff"}, "write claims"},
		"too long":     {testSecret, auth.Claims{Tenant: strings.Repeat("x", 3000)}, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := auth.Sign([]byte(c.secret), c.claims)
			if err == nil || token != "" || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %q, %v", token, err)
			}
			checkSilent(t, err.Error(), c.secret)
		})
	}
}
