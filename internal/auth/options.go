package auth

import "time"

// Options are the settings of a Verifier. At least one key is needed; any of
// several may verify a token, which lets keys be rotated.
type Options struct {
	// Secrets are HMAC keys for HS256, HS384 and HS512, each at least
	// 32 bytes. They are copied.
	Secrets [][]byte
	// PublicKeysPEM are PEM texts of one or more blocks each: PUBLIC KEY,
	// RSA PUBLIC KEY, or CERTIFICATE, of which only the key counts and neither
	// dates nor names. RSA of at least 2048 bits verifies RS256 to PS512, the
	// curves P-256, P-384 and P-521 ES256, ES384 and ES512, Ed25519 EdDSA.
	PublicKeysPEM [][]byte
	// Audience must be in "aud" of every token. Empty: any audience, or none.
	Audience string
	// Issuer must be "iss" of every token. Empty: any issuer, or none.
	Issuer string
	// AllowNoExpiry accepts tokens without "exp". One that has it still expires.
	AllowNoExpiry bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}
