package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// minSecret is the size of the smallest hash in use: a shorter HMAC key is
	// weaker than the signature (RFC 7518 section 3.2). In bytes.
	minSecret = 32
	// minRSA is what RFC 7518 section 3.3 asks for, in bits.
	minRSA = 2048
	// pemBegin opens each PEM block.
	pemBegin = "-----BEGIN "
)

// pinned is one algorithm with the keys that may verify it.
type pinned struct {
	method jwt.SigningMethod
	keys   []any
}

// keyring holds the keys by the "alg" they verify. It is the only way from an
// algorithm to a key, so no key is ever used for a foreign algorithm.
type keyring map[string]pinned

// newKeyring reads all keys. Its errors say which key is wrong and hold nothing
// of it.
func newKeyring(secrets, pems [][]byte) (keyring, error) {
	r := make(keyring)
	for i, s := range secrets {
		if err := r.addSecret(s); err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
	}
	for i, text := range pems {
		if err := r.addPEM(text); err != nil {
			return nil, fmt.Errorf("public key file %d: %w", i+1, err)
		}
	}
	if len(r) == 0 {
		return nil, errors.New("no key to verify tokens with")
	}
	return r, nil
}

// verify reports whether any key for alg made the signature of signed. known is
// false when alg has no key.
func (r keyring) verify(alg, signed string, signature []byte) (known, ok bool) {
	p, known := r[alg]
	for _, key := range p.keys {
		if p.method.Verify(signed, signature, key) == nil {
			return true, true
		}
	}
	return known, false
}

func (r keyring) add(key any, methods ...jwt.SigningMethod) {
	for _, m := range methods {
		p := r[m.Alg()]
		p.method = m
		p.keys = append(p.keys, key)
		r[m.Alg()] = p
	}
}

func (r keyring) addSecret(s []byte) error {
	if err := checkSecret(s); err != nil {
		return err
	}
	r.add(bytes.Clone(s), jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512)
	return nil
}

func checkSecret(s []byte) error {
	if len(s) < minSecret {
		return fmt.Errorf("must be at least %d bytes", minSecret)
	}
	// A public key that serves as a secret lets everybody sign.
	if bytes.Contains(s, []byte(pemBegin)) {
		return errors.New("is a PEM text, not a secret")
	}
	return nil
}

func (r keyring) addPEM(text []byte) error {
	blocks := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		key, err := parseBlock(block)
		if err == nil {
			err = r.addPublic(key)
		}
		if err != nil {
			return fmt.Errorf("block %d: %w", blocks, err)
		}
	}
	switch {
	case blocks == 0:
		return errors.New("holds no PEM block")
	case blocks != bytes.Count(text, []byte(pemBegin)):
		// pem.Decode passes over what it can't read; half of the keys is not
		// what the operator asked for.
		return errors.New("holds a damaged PEM block")
	}
	return nil
}

// parseBlock returns the public key in a block. The errors of crypto/x509 are
// not passed on: they may quote what they parse.
func parseBlock(b *pem.Block) (any, error) {
	switch {
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		return nil, errors.New("is a private key: give the public key, and keep this one away from the server")
	case b.Type == "PUBLIC KEY":
		if key, err := x509.ParsePKIXPublicKey(b.Bytes); err == nil {
			return key, nil
		}
	case b.Type == "RSA PUBLIC KEY":
		if key, err := x509.ParsePKCS1PublicKey(b.Bytes); err == nil {
			return key, nil
		}
	case b.Type == "CERTIFICATE":
		if cert, err := x509.ParseCertificate(b.Bytes); err == nil {
			return cert.PublicKey, nil
		}
	default:
		return nil, errors.New("is neither a public key nor a certificate")
	}
	return nil, errors.New("can't be parsed, or is of an unsupported kind")
}

func (r keyring) addPublic(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return fmt.Errorf("RSA key must have at least %d bits", minRSA)
		}
		r.add(k, jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
			jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512)
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			r.add(k, jwt.SigningMethodES256)
		case elliptic.P384():
			r.add(k, jwt.SigningMethodES384)
		case elliptic.P521():
			r.add(k, jwt.SigningMethodES512)
		default:
			return errors.New("curve must be P-256, P-384 or P-521")
		}
	case ed25519.PublicKey:
		r.add(k, jwt.SigningMethodEdDSA)
	default:
		return errors.New("must be an RSA, ECDSA or Ed25519 key")
	}
	return nil
}
