package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// signHeader is the header of every token that Sign makes.
const signHeader = `{"alg":"HS256","typ":"JWT"}`

// Claims are the claims of a token to be signed. Empty ones are left out;
// nothing else is checked, Verify does that.
type Claims struct {
	Tenant, User string
	Roles        []string
	// Channels are patterns that may be joined and published to.
	Channels         []string
	Audience, Issuer string
	// IssuedAt and ExpiresAt are cut to whole seconds.
	IssuedAt, ExpiresAt time.Time
}

// signedClaims are Claims as they are written.
type signedClaims struct {
	Tenant   string   `json:"tenantId,omitzero"`
	User     string   `json:"userId,omitzero"`
	Roles    []string `json:"roles,omitempty"`
	Channels []string `json:"channels,omitempty"`
	Audience string   `json:"aud,omitzero"`
	Issuer   string   `json:"iss,omitzero"`
	Issued   int64    `json:"iat,omitzero"`
	Expires  int64    `json:"exp,omitzero"`
}

// Sign returns a token with the claims, signed with HS256. The secret must have
// at least 32 bytes, and the token must come out short enough for Verify. Safe
// for concurrent use.
func Sign(secret []byte, c Claims) (string, error) {
	if err := checkSecret(secret); err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	text, err := json.Marshal(signedClaims{
		Tenant: c.Tenant, User: c.User, Roles: c.Roles, Channels: c.Channels,
		Audience: c.Audience, Issuer: c.Issuer,
		Issued: unixSeconds(c.IssuedAt), Expires: unixSeconds(c.ExpiresAt),
	})
	if err != nil {
		return "", fmt.Errorf("write claims: %w", err)
	}
	encoding := base64.RawURLEncoding
	signed := encoding.EncodeToString([]byte(signHeader)) + "." + encoding.EncodeToString(text)
	signature, err := jwt.SigningMethodHS256.Sign(signed, secret)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	token := signed + "." + encoding.EncodeToString(signature)
	if len(token) > maxToken {
		return "", errors.New("claims are too long for a token")
	}
	return token, nil
}

// unixSeconds returns t since 1970; 0 for the zero time.
func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
