package auth

import (
	"encoding/base64"
	"strings"
)

const (
	// maxToken bounds a token that is to be verified, in bytes. Half of the
	// request head that may carry it.
	maxToken = 4 << 10
	// maxInspect bounds a token that is only looked into, in bytes.
	maxInspect = 64 << 10
)

// token is a token in compact form, taken apart.
type token struct {
	// signed is what the signature covers.
	signed string
	// header, claims and signature are decoded from base64url.
	header, claims, signature []byte
}

// parseToken takes text apart: three parts of base64url without padding, of at
// most limit bytes together. All of it is looked at before any is decoded.
// header and claims are not empty, the signature may be.
func parseToken(text string, limit int) (token, error) {
	switch {
	case text == "":
		return token{}, refuse("it is empty")
	case len(text) > limit:
		return token{}, refuse("it is too long")
	case strings.Count(text, ".") != 2:
		return token{}, refuse("it must have three parts")
	}
	for i := range len(text) {
		if !tokenByte(text[i]) {
			return token{}, refuse("it must be base64url without padding")
		}
	}
	header, rest, _ := strings.Cut(text, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	if header == "" || claims == "" {
		return token{}, refuse("it has an empty part")
	}
	t := token{signed: text[:len(header)+1+len(claims)]}
	// Strict refuses trailing bits: no two texts decode to the same bytes.
	strict := base64.RawURLEncoding.Strict()
	for _, part := range []struct {
		text string
		into *[]byte
	}{{header, &t.header}, {claims, &t.claims}, {signature, &t.signature}} {
		bytes, err := strict.DecodeString(part.text)
		if err != nil {
			return token{}, refuse("it must be base64url without padding")
		}
		*part.into = bytes
	}
	return t, nil
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '_' || c == '.'
}
