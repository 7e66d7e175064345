package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Cache remembers the tokens that a Verifier found right, so that a client that
// comes back, or a storm of them, costs one hash instead of a signature check.
// Bad tokens are not remembered. Safe for concurrent use.
type Cache struct {
	// set once
	verifier *Verifier
	half     int

	mu sync.Mutex
	// Entries are found in both; new ones go to young. When that is full, old
	// is forgotten and young takes its place: what is used stays.
	young, old map[[sha256.Size]byte]*Principal
}

// NewCache remembers at most about size tokens; 0 or less: none. Only a digest
// of a token is kept, and what it says.
func NewCache(v *Verifier, size int) *Cache {
	return &Cache{verifier: v, half: size / 2, young: make(map[[sha256.Size]byte]*Principal)}
}

// Verify is Verifier.Verify. The same Principal may be returned many times.
func (c *Cache) Verify(token string) (*Principal, error) {
	if c.half <= 0 || len(token) > maxToken {
		return c.verifier.Verify(token)
	}
	key := sha256.Sum256([]byte(token))
	if p := c.find(key); p != nil {
		return p, nil
	}
	p, err := c.verifier.Verify(token)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepLocked(key, p)
	return p, nil
}

// find returns what is remembered and has not expired.
func (c *Cache) find(key [sha256.Size]byte) *Principal {
	now := c.verifier.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.young[key]
	if p == nil {
		if p = c.old[key]; p == nil {
			return nil
		}
		delete(c.old, key)
		c.keepLocked(key, p)
	}
	if expired(p, now) {
		delete(c.young, key) // the Verifier says what is wrong
		return nil
	}
	return p
}

func (c *Cache) keepLocked(key [sha256.Size]byte, p *Principal) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]*Principal)
	}
	c.young[key] = p
}

func expired(p *Principal, now time.Time) bool {
	return !p.ExpiresAt.IsZero() && !now.Before(p.ExpiresAt)
}
