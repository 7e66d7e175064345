package auth

import "time"

// Verifier checks client tokens. It is immutable and safe for concurrent use.
type Verifier struct {
	keys             keyring
	audience, issuer string
	allowNoExpiry    bool
	now              func() time.Time
}

// NewVerifier reads the keys of o. Its error says which key is wrong and why,
// and holds nothing of the key.
func NewVerifier(o Options) (*Verifier, error) {
	keys, err := newKeyring(o.Secrets, o.PublicKeysPEM)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		keys:     keys,
		audience: o.Audience, issuer: o.Issuer,
		allowNoExpiry: o.AllowNoExpiry,
		now:           o.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}
	return v, nil
}

// String implements fmt.Stringer without the keys.
func (v *Verifier) String() string { return "auth.Verifier" }

// GoString implements fmt.GoStringer without the keys.
func (v *Verifier) GoString() string { return v.String() }

// Verify returns who the token speaks for. The error wraps ErrExpired when all
// is right but the token's age, and ErrInvalid otherwise; its text holds
// nothing of the token. The claims are not looked at before the signature.
func (v *Verifier) Verify(text string) (*Principal, error) {
	t, err := parseToken(text, maxToken)
	if err != nil {
		return nil, err
	}
	alg, err := readAlgorithm(t.header)
	if err != nil {
		return nil, err
	}
	switch known, ok := v.keys.verify(alg, t.signed, t.signature); {
	case !known:
		return nil, refuse("no key for its algorithm")
	case !ok:
		return nil, refuse("wrong signature")
	}
	var c claims
	if err := decodeObject("claims", t.claims, &c); err != nil {
		return nil, err
	}
	now := v.now()
	if err := v.check(&c, now); err != nil {
		return nil, err
	}
	p, err := v.principal(&c)
	if err != nil {
		return nil, err
	}
	// Last, so that ErrExpired says that all else is right.
	if p.Expired(now) {
		return nil, ErrExpired
	}
	return p, nil
}

// check refuses a token that is for others, by others, or not valid yet.
func (v *Verifier) check(c *claims, now time.Time) error {
	if err := c.checkAudience(v.audience); err != nil {
		return err
	}
	if err := c.checkIssuer(v.issuer); err != nil {
		return err
	}
	return c.checkStart(now)
}

// principal reads what the claims say of their bearer.
func (v *Verifier) principal(c *claims) (*Principal, error) {
	p := &Principal{}
	var err error
	if p.Tenant, err = c.tenant(); err != nil {
		return nil, err
	}
	if p.User, err = c.user(); err != nil {
		return nil, err
	}
	if p.Details, err = c.details(); err != nil {
		return nil, err
	}
	expires, err := c.expiry(v.allowNoExpiry)
	if err != nil {
		return nil, err
	}
	p.setExpiry(expires)
	return p, nil
}
