package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/auth"
)

// cached makes a cache over a verifier whose clock is at *now.
func cached(t *testing.T, size int, now *time.Time) (*auth.Cache, func(user string) string) {
	t.Helper()
	secret := []byte("0123456789abcdef0123456789abcdef")
	v, err := auth.NewVerifier(auth.Options{Secrets: [][]byte{secret}, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	issued := *now
	return auth.NewCache(v, size), func(user string) string {
		token, err := auth.Sign(secret, auth.Claims{Tenant: "acme", User: user, IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

func verified(t *testing.T, c *auth.Cache, token string) *auth.Principal {
	t.Helper()
	p, err := c.Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCacheRemembersTheRightPrincipal(t *testing.T) {
	now := time.Now()
	c, sign := cached(t, 100, &now)
	ann, bob := sign("ann"), sign("bob")
	first := verified(t, c, ann)
	if verified(t, c, ann) != first {
		t.Error("the token was verified anew")
	}
	if p := verified(t, c, bob); p == first || p.User.String() != "bob" {
		t.Errorf("bob is %v", p)
	}
	for name, token := range map[string]string{"cut": ann[:len(ann)-1], "longer": ann + "A", "empty": ""} {
		if _, err := c.Verify(token); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCacheHonoursExpiry(t *testing.T) {
	now := time.Now()
	c, sign := cached(t, 100, &now)
	token := sign("ann")
	verified(t, c, token)
	now = now.Add(time.Hour + time.Second)
	for range 2 {
		if _, err := c.Verify(token); !errors.Is(err, auth.ErrExpired) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	now := time.Now()
	const size = 20
	c, sign := cached(t, size, &now)
	busy := sign("busy")
	first := verified(t, c, busy)
	idle := sign("idle")
	forgotten := verified(t, c, idle)
	for i := range 3 * size {
		verified(t, c, sign(fmt.Sprint(i)))
		if verified(t, c, busy) != first {
			t.Fatal("a token in use was forgotten")
		}
	}
	if verified(t, c, idle) == forgotten {
		t.Error("nothing is ever forgotten")
	}
}

func TestCacheOff(t *testing.T) {
	now := time.Now()
	c, sign := cached(t, 0, &now)
	token := sign("ann")
	first := verified(t, c, token)
	if again := verified(t, c, token); first == again {
		t.Error("a cache of no size remembers")
	}
}

func TestCacheConcurrently(t *testing.T) {
	now := time.Now()
	c, sign := cached(t, 8, &now)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				user := fmt.Sprint((w + i) % 12)
				if p, err := c.Verify(sign(user)); err != nil || p.User.String() != user {
					t.Errorf("%s: %v, %v", user, p, err)
				}
			}
		})
	}
	wg.Wait()
}
