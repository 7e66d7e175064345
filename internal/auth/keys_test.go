package auth_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aegisx/pushd/internal/auth"
)

const (
	testSecret  = "0123456789abcdef0123456789ABCDEF"
	otherSecret = "another secret, of 32 bytes also"
)

// signer is one private key with the algorithms it may sign.
type signer struct {
	private any
	public  crypto.PublicKey
	methods []jwt.SigningMethod
}

var (
	rsaMethods = []jwt.SigningMethod{
		jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
		jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
	}
	hmacMethods = []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512}
)

// signers are made once: RSA keys take their time.
var signers = sync.OnceValue(func() map[string]signer {
	all := make(map[string]signer)
	for _, name := range []string{"rsa", "other rsa"} {
		key := must(rsa.GenerateKey(rand.Reader, 2048))
		all[name] = signer{key, key.Public(), rsaMethods}
	}
	for name, c := range map[string]struct {
		curve  elliptic.Curve
		method jwt.SigningMethod
	}{
		"p256":       {elliptic.P256(), jwt.SigningMethodES256},
		"other p256": {elliptic.P256(), jwt.SigningMethodES256},
		"p384":       {elliptic.P384(), jwt.SigningMethodES384},
		"p521":       {elliptic.P521(), jwt.SigningMethodES512},
	} {
		key := must(ecdsa.GenerateKey(c.curve, rand.Reader))
		all[name] = signer{key, key.Public(), []jwt.SigningMethod{c.method}}
	}
	for _, name := range []string{"ed25519", "other ed25519"} {
		// From a fixed seed, for the workers of the fuzzer to agree.
		seed := []byte(fmt.Sprintf("%-32s", name))
		key := ed25519.NewKeyFromSeed(seed)
		all[name] = signer{key, key.Public(), []jwt.SigningMethod{jwt.SigningMethodEdDSA}}
	}
	return all
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// publicPEM returns the public key of a named signer.
func publicPEM(name string) []byte {
	der := must(x509.MarshalPKIXPublicKey(signers()[name].public))
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// encode joins header and claims to what a signature covers.
func encode(header, claims string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(claims))
}

// sign makes a token of any header and claims, whatever they say.
func sign(m jwt.SigningMethod, key any, header, claims string) string {
	signed := encode(header, claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(must(m.Sign(signed, key)))
}

func headerOf(m jwt.SigningMethod) string { return fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, m.Alg()) }

func TestNewVerifierRefusals(t *testing.T) {
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkix := func(key any) []byte { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key))) }
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	ed := signers()["ed25519"]
	private := must(x509.MarshalPKCS8PrivateKey(ed.private))
	ec := must(x509.MarshalECPrivateKey(signers()["p256"].private.(*ecdsa.PrivateKey)))
	rsaDER := x509.MarshalPKCS1PrivateKey(signers()["rsa"].private.(*rsa.PrivateKey))
	good := publicPEM("ed25519")
	damaged := strings.Replace(string(good), "MC", "*", 1)

	for name, c := range map[string]struct {
		secret string
		pem    []byte
		want   string
	}{
		"short secret":           {secret: testSecret[1:], want: "secret 1: must be at least 32 bytes"},
		"public key as secret":   {secret: string(publicPEM("rsa")), want: "PEM text"},
		"empty PEM":              {pem: []byte{}, want: "no PEM block"},
		"text":                   {pem: []byte("ssh-ed25519 AAAA"), want: "no PEM block"},
		"DER":                    {pem: must(x509.MarshalPKIXPublicKey(ed.public)), want: "no PEM block"},
		"PKCS 8 private key":     {pem: block("PRIVATE KEY", private), want: "private key"},
		"EC private key":         {pem: block("EC PRIVATE KEY", ec), want: "private key"},
		"RSA private key":        {pem: block("RSA PRIVATE KEY", rsaDER), want: "private key"},
		"encrypted private key":  {pem: block("ENCRYPTED PRIVATE KEY", private), want: "private key"},
		"private after public":   {pem: append(append([]byte{}, good...), block("PRIVATE KEY", private)...), want: "block 2: is a private key"},
		"other block":            {pem: block("CERTIFICATE REQUEST", private), want: "neither"},
		"garbage public key":     {pem: block("PUBLIC KEY", []byte("garbage")), want: "can't be parsed"},
		"garbage RSA public key": {pem: block("RSA PUBLIC KEY", []byte("garbage")), want: "can't be parsed"},
		"garbage certificate":    {pem: block("CERTIFICATE", []byte("garbage")), want: "can't be parsed"},
		"wrong kind of block":    {pem: block("RSA PUBLIC KEY", must(x509.MarshalPKIXPublicKey(ed.public))), want: "can't be parsed"},
		"damaged block":          {pem: []byte(damaged), want: "no PEM block"},
		"damaged and good block": {pem: append([]byte(damaged), good...), want: "damaged PEM block"},
		"good and cut block":     {pem: append(append([]byte{}, good...), good[:60]...), want: "damaged PEM block"},
		"small RSA":              {pem: pkix(small.Public()), want: "2048"},
		"P-224":                  {pem: pkix(p224.Public()), want: "curve"},
		"X25519":                 {pem: pkix(x25519.Public()), want: "must be an RSA, ECDSA or Ed25519 key"},
	} {
		t.Run(name, func(t *testing.T) {
			o := auth.Options{}
			if c.secret != "" {
				o.Secrets = [][]byte{[]byte(c.secret)}
			}
			if c.pem != nil {
				o.PublicKeysPEM = [][]byte{c.pem}
			}
			v, err := auth.NewVerifier(o)
			if err == nil || v != nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			checkSilent(t, err.Error(), c.secret+string(c.pem))
		})
	}
	t.Run("no key", func(t *testing.T) {
		if _, err := auth.NewVerifier(auth.Options{}); err == nil {
			t.Error("taken")
		}
	})
	t.Run("one of several", func(t *testing.T) {
		_, err := auth.NewVerifier(auth.Options{
			Secrets:       [][]byte{[]byte(testSecret)},
			PublicKeysPEM: [][]byte{good, []byte("nothing")},
		})
		if err == nil || !strings.Contains(err.Error(), "public key file 2") {
			t.Errorf("got %v", err)
		}
	})
}

// checkSilent fails when text holds a piece of secret.
func checkSilent(t *testing.T, text, secret string) {
	t.Helper()
	const piece = 7
	for i := 0; i+piece <= len(secret); i++ {
		part := secret[i : i+piece]
		// Words that our texts may use too; they say nothing of a key.
		if strings.Contains("-----BEGIN RSA PUBLIC KEY ENCRYPTED PRIVATE KEY-----", part) {
			continue
		}
		if strings.Contains(text, part) {
			t.Fatalf("%q holds %q", text, part)
		}
	}
}

func TestPEMForms(t *testing.T) {
	rsaKey := signers()["rsa"].private.(*rsa.PrivateKey)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		// Long over: only the key counts.
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0),
	}
	cert := must(x509.CreateCertificate(rand.Reader, template, template, rsaKey.Public(), rsaKey))
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})
	several := "comment\n" + string(publicPEM("p256")) + "\nanother\n" + string(publicPEM("rsa")) + string(publicPEM("ed25519")) + "\n"
	for name, text := range map[string][]byte{
		"PKIX":        publicPEM("rsa"),
		"PKCS 1":      pkcs1,
		"certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"several":     []byte(several),
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, auth.Options{PublicKeysPEM: [][]byte{text}})
			token := sign(jwt.SigningMethodRS256, rsaKey, headerOf(jwt.SigningMethodRS256), claimsWith())
			if _, err := v.Verify(token); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecretsAreCopied(t *testing.T) {
	secret := []byte(testSecret)
	v := newVerifier(t, auth.Options{Secrets: [][]byte{secret}})
	clear(secret)
	if _, err := v.Verify(goodToken()); err != nil {
		t.Error(err)
	}
}

func TestVerifierHidesKeys(t *testing.T) {
	v := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, v); got != "auth.Verifier" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
