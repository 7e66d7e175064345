package auth

import (
	"crypto/sha256"
	"sync"
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
	young, old map[digest]*Principal
}

// digest stands for a token: half of its SHA-256. To pass for a good token a
// forged one must have the digest of one that is remembered, which takes some
// 2^110 tries; two that share one are of no use to whoever cannot sign.
type digest [sha256.Size / 2]byte

func digestOf(token string) digest {
	sum := sha256.Sum256([]byte(token))
	return digest(sum[:])
}

// NewCache remembers at most about size tokens; 0 or less: none. Only a digest
// of a token is kept, and what it says.
func NewCache(v *Verifier, size int) *Cache {
	return &Cache{verifier: v, half: size / 2, young: make(map[digest]*Principal)}
}

// Verify is Verifier.Verify. The same Principal may be returned many times.
func (c *Cache) Verify(token string) (*Principal, error) {
	if c.half <= 0 || len(token) > maxToken {
		return c.verifier.Verify(token)
	}
	key := digestOf(token)
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
func (c *Cache) find(key digest) *Principal {
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
	if p.Expired(now) {
		delete(c.young, key) // the Verifier says what is wrong
		return nil
	}
	return p
}

func (c *Cache) keepLocked(key digest, p *Principal) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[digest]*Principal)
	}
	c.young[key] = p
}
