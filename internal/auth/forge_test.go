package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aegisx/pushd/internal/auth"
)

// forgedShapes are texts that are no token at all, or one that was tampered
// with.
func forgedShapes() map[string]string {
	good := goodToken()
	parts := strings.Split(good, ".")
	header, claims, signature := parts[0], parts[1], parts[2]
	b64 := base64.RawURLEncoding.EncodeToString
	last := signature[:len(signature)-1]
	return map[string]string{
		"empty":                  "",
		"no token":               "nonsense",
		"one dot":                header + "." + claims,
		"three dots":             good + ".",
		"JWE":                    good + ".AAAA.AAAA",
		"only dots":              "..",
		"empty header":           "." + claims + "." + signature,
		"empty claims":           header + ".." + signature,
		"empty signature":        header + "." + claims + ".",
		"truncated":              good[:len(good)-1],
		"half of the signature":  good[:len(good)-19],
		"longer signature":       good + "AAAA",
		"trailing bits":          header + "." + claims + "." + last + string(nextLetter(signature[len(signature)-1])),
		"padded signature":       good + "=",
		"padded claims":          header + "." + claims + "==." + signature,
		"standard base64":        strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+/",
		"line end":               good + "\n",
		"line end inside":        header + "\n." + claims + "." + signature,
		"carriage return inside": header + "." + claims[:8] + "\r\n" + claims[8:] + "." + signature,
		"leading space":          " " + good,
		"Bearer":                 "Bearer " + good,
		"NUL":                    good + "\x00",
		"not ASCII":              header + "." + claims + "." + signature + "é",
		"5 KiB":                  hs256(goodHeader, claimsWith("meta", `"`+strings.Repeat("x", 3700)+`"`)),
		"1 MiB of dots":          strings.Repeat(".", 1<<20),
		"swapped claims":         header + "." + strings.Split(hs256(goodHeader, claimsWith("userId", `"bob"`)), ".")[1] + "." + signature,
		"swapped header":         b64([]byte(`{"alg":"HS256"}`)) + "." + claims + "." + signature,
		"wrong and expired": sign(jwt.SigningMethodHS256, []byte(otherSecret), goodHeader,
			claimsWith("exp", at(-time.Hour))),
		"expired without signature": encode(`{"alg":"none"}`, claimsWith("exp", at(-time.Hour))) + ".",
	}
}

// nextLetter changes the lowest bit of a base64url letter, which in the last of
// a signature carries nothing.
func nextLetter(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// forgedKeys are signed, but by a wrong key or for a wrong algorithm.
func forgedKeys() map[string]string {
	key := func(name string) any { return signers()[name].private }
	p256 := must(x509.MarshalPKIXPublicKey(signers()["p256"].public))
	der := must(x509.MarshalPKIXPublicKey(signers()["rsa"].public))
	pkcs1 := x509.MarshalPKCS1PublicKey(&key("rsa").(*rsa.PrivateKey).PublicKey)
	fresh := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := claimsWith()
	hs := func(secret []byte) string { return sign(jwt.SigningMethodHS256, secret, goodHeader, c) }
	// One algorithm in the header, another in the signature.
	as := func(alg string, m jwt.SigningMethod, k any) string {
		return sign(m, k, fmt.Sprintf(`{"alg":%q}`, alg), c)
	}
	return map[string]string{
		"other secret":              hs([]byte(otherSecret)),
		"empty secret":              hs([]byte{}),
		"zero secret":               hs(make([]byte, 32)),
		"secret and more":           hs([]byte(testSecret + "\n")),
		"HS256 by RSA public PEM":   hs(publicPEM("rsa")),
		"HS256 by RSA public DER":   hs(der),
		"HS256 by RSA PKCS 1":       hs(pkcs1),
		"HS256 by P-256 public PEM": hs(publicPEM("p256")),
		"HS256 by P-256 public DER": hs(p256),
		"HS256 by Ed25519 public":   hs(signers()["ed25519"].public.(ed25519.PublicKey)),
		"other RSA key":             as("RS256", jwt.SigningMethodRS256, key("other rsa")),
		"other P-256 key":           as("ES256", jwt.SigningMethodES256, fresh),
		"other Ed25519 key":         as("EdDSA", jwt.SigningMethodEdDSA, key("other ed25519")),
		"RS256 says PS256":          as("PS256", jwt.SigningMethodRS256, key("rsa")),
		"PS256 says RS256":          as("RS256", jwt.SigningMethodPS256, key("rsa")),
		"RS256 says RS512":          as("RS512", jwt.SigningMethodRS256, key("rsa")),
		"RS256 says HS256":          as("HS256", jwt.SigningMethodRS256, key("rsa")),
		"HS256 says RS256":          as("RS256", jwt.SigningMethodHS256, []byte(testSecret)),
		"HS256 says HS512":          as("HS512", jwt.SigningMethodHS256, []byte(testSecret)),
		"HS512 says HS256":          as("HS256", jwt.SigningMethodHS512, []byte(testSecret)),
		"P-256 says ES384":          as("ES384", jwt.SigningMethodES256, key("p256")),
		"P-384 says ES256":          as("ES256", jwt.SigningMethodES384, key("p384")),
		"EdDSA says ES256":          as("ES256", jwt.SigningMethodEdDSA, key("ed25519")),
		"ES256 of zeros":            encode(`{"alg":"ES256"}`, c) + "." + strings.Repeat("A", 86),
		"RS256 of zeros":            encode(`{"alg":"RS256"}`, c) + "." + strings.Repeat("A", 342),
		"EdDSA of zeros":            encode(`{"alg":"EdDSA"}`, c) + "." + strings.Repeat("A", 86),
		"ES256 in DER":              encode(`{"alg":"ES256"}`, c) + "." + derSignature(encode(`{"alg":"ES256"}`, c)),
	}
}

// derSignature signs rightly, in the form that X.509 has and JOSE has not.
func derSignature(signed string) string {
	key := signers()["p256"].private.(*ecdsa.PrivateKey)
	hash := sha256.Sum256([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(must(key.Sign(rand.Reader, hash[:], crypto.SHA256)))
}

// forgedHeaders are rightly signed under headers that must not pass.
func forgedHeaders() map[string]string {
	good := claimsWith()
	all := map[string]string{
		"none without signature": encode(`{"alg":"none","typ":"JWT"}`, good) + ".",
		"None without signature": encode(`{"alg":"None"}`, good) + ".",
		"NONE":                   encode(`{"alg":"NONE"}`, good) + ".AA",
	}
	for name, header := range map[string]string{
		"alg none":             `{"alg":"none"}`,
		"alg nOnE":             `{"alg":"nOnE"}`,
		"alg hs256":            `{"alg":"hs256"}`,
		"alg with a space":     `{"alg":"HS256 "}`,
		"alg with NUL":         `{"alg":"HS256\u0000"}`,
		"alg empty":            `{"alg":""}`,
		"alg unknown":          `{"alg":"HS257"}`,
		"alg ES256K":           `{"alg":"ES256K"}`,
		"alg of encryption":    `{"alg":"dir","enc":"A256GCM"}`,
		"alg missing":          `{"typ":"JWT"}`,
		"alg null":             `{"alg":null}`,
		"alg number":           `{"alg":256}`,
		"alg array":            `{"alg":["HS256"]}`,
		"alg in capitals":      `{"ALG":"HS256"}`,
		"alg twice":            `{"alg":"HS256","alg":"HS256"}`,
		"alg twice by escape":  `{"alg":"none","\u0061lg":"HS256"}`,
		"unknown name twice":   `{"alg":"HS256","x":1,"x":2}`,
		"nested name twice":    `{"alg":"HS256","x":{"y":1,"y":2}}`,
		"crit":                 `{"alg":"HS256","crit":["exp"],"exp":1}`,
		"crit empty":           `{"alg":"HS256","crit":[]}`,
		"crit null":            `{"alg":"HS256","crit":null}`,
		"jwk":                  `{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`,
		"jwk null":             `{"alg":"HS256","jwk":null}`,
		"jku":                  `{"alg":"HS256","jku":"https://evil.example/keys"}`,
		"x5u":                  `{"alg":"HS256","x5u":"https://evil.example/cert"}`,
		"x5c":                  `{"alg":"HS256","x5c":["AAAA"]}`,
		"b64 false":            `{"alg":"HS256","b64":false}`,
		"b64 null":             `{"alg":"HS256","b64":null}`,
		"typ of other service": `{"alg":"HS256","typ":"logout+jwt"}`,
		"typ JWE":              `{"alg":"HS256","typ":"JWE"}`,
		"typ empty":            `{"alg":"HS256","typ":""}`,
		"typ null":             `{"alg":"HS256","typ":null}`,
		"typ number":           `{"alg":"HS256","typ":1}`,
		"header array":         `["HS256"]`,
		"header null":          `null`,
		"header string":        `"HS256"`,
		"header cut":           `{"alg":"HS256"`,
		"header and more":      `{"alg":"HS256"}{}`,
		"header comma":         `{"alg":"HS256",}`,
		"header comment":       `{"alg":"HS256"/**/}`,
		"header byte order":    "\ufeff" + `{"alg":"HS256"}`,
		"header bad UTF-8":     "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
		"header surrogate":     `{"alg":"HS256","x":"\ud800"}`,
		"header raw newline":   "{\"alg\":\"HS256\",\"x\":\"\n\"}",
	} {
		all[name] = hs256(header, good)
	}
	return all
}

// forgedClaims are rightly signed with claims that must not pass.
func forgedClaims() map[string]string {
	good := claimsWith()
	with := func(members string) string { return strings.TrimSuffix(good, "}") + "," + members + "}" }
	all := map[string]string{
		"claims empty object":   `{}`,
		"claims null":           `null`,
		"claims array":          `[` + good + `]`,
		"claims string":         `"acme"`,
		"claims cut":            strings.TrimSuffix(good, "}"),
		"claims and more":       good + good,
		"claims and junk":       good + "x",
		"claims bad UTF-8":      with("\"x\":\"\xff\""),
		"claims surrogate":      with(`"x":"\ud800"`),
		"claims NaN":            with(`"x":NaN`),
		"claims byte order":     "\ufeff" + good,
		"tenant twice":          with(`"tenantId":"acme"`),
		"tenant twice, escaped": with(`"tenant\u0049d":"other"`),
		"exp twice":             with(`"exp":9999999999`),
		"unknown twice":         with(`"x":1,"x":1`),
		"nested twice":          with(`"meta":{"a":{"b":1,"b":2}}`),
		"tenant in capitals":    claimsWith("tenantId", "", "TENANTID", `"acme"`),
		"tenant as tenantID":    claimsWith("tenantId", "", "tenantID", `"acme"`),
		"exp in capitals":       claimsWith("exp", "", "EXP", at(time.Hour)),
		"aud in capitals":       claimsWith("aud", "", "Aud", `"app-audience"`),
		"deep":                  with(`"x":` + strings.Repeat("[", 2500)),
		"expired, wrong aud":    claimsWith("exp", at(-time.Hour), "aud", `"stranger"`),
		"expired, wrong iss":    claimsWith("exp", at(-time.Hour), "iss", `"stranger"`),
		"expired, no tenant":    claimsWith("exp", at(-time.Hour), "tenantId", ""),
		"expired, bad tenant":   claimsWith("exp", at(-time.Hour), "tenantId", `"canary:canary"`),
		"expired, bad user":     claimsWith("exp", at(-time.Hour), "userId", `""`),
		"expired, bad role":     claimsWith("exp", at(-time.Hour), "role", `7`),
		"expired, bad channel":  claimsWith("exp", at(-time.Hour), "channels", `["canary::canary"]`),
		"expired, bad jti":      claimsWith("exp", at(-time.Hour), "jti", `{}`),
		"expired, long info":    claimsWith("exp", at(-time.Hour), "info", `"`+strings.Repeat("canary", 200)+`"`),
		"expired, not yet":      claimsWith("exp", at(-time.Hour), "nbf", at(time.Hour)),
		"expired, future iat":   claimsWith("exp", at(-time.Hour), "iat", at(time.Hour)),
		"exp missing":           claimsWith("exp", ""),
		"nbf in the future":     claimsWith("nbf", at(31*time.Second)),
		"iat in the future":     claimsWith("iat", at(31*time.Second)),
	}
	for claim, values := range badValues() {
		for _, value := range values {
			name := value
			if len(name) > 30 {
				name = name[:30]
			}
			all[claim+" "+name] = claimsWith(claim, value)
		}
	}
	tokens := make(map[string]string)
	for name, claims := range all {
		tokens[name] = hs256(goodHeader, claims)
	}
	return tokens
}

// badValues are values that refuse the token, by claim.
func badValues() map[string][]string {
	dates := []string{
		`1e400`, `1e18`, `253402300800`, `-1`, `-1e400`, `-0.5`, `"1900000000"`, `"soon"`, `""`,
		`null`, `true`, `[1900000000]`, `{}`,
	}
	names := []string{
		`""`, `" "`, `"can ary"`, `"canary\n"`, `"canary\u0000"`, `"\u0085canary"`, `"canary\u2028"`,
		`"*"`, `"**"`, `null`, `7`, `true`, `["canary"]`, `{"canary":1}`, `"` + strings.Repeat("canary", 30) + `"`,
	}
	return map[string][]string{
		"exp":      dates,
		"nbf":      dates,
		"iat":      dates,
		"tenantId": append([]string{``, `"canary:canary"`, `":"`, `"canary:"`}, names...),
		"userId":   names,
		"sub":      names,
		"aud": {
			``, `"app"`, `"APP-AUDIENCE"`, `"app-audience "`, `""`, `[]`, `["other"]`, `["app-audience",7]`,
			`[["app-audience"]]`, `null`, `{"app-audience":1}`, `7`,
		},
		"iss": {``, `"https://issuer.example/"`, `"https://ISSUER.example"`, `""`, `["https://issuer.example"]`, `null`, `7`},
		"jti": {`7`, `null`, `["canary"]`},
		"roles": {
			`"admin"`, `null`, `{"admin":true}`, `[7]`, `[null]`, `[["admin"]]`, `[""]`,
		},
		"role": {`["admin"]`, `null`, `7`, `""`},
		"channels": {
			`"canary"`, `null`, `7`, `true`, `[7]`, `[null]`, `[""]`, `["canary::canary"]`, `["canary:"]`, `["can ary"]`,
			`{"join":"canary"}`, `{"join":null}`, `{"publish":[7]}`, `{"publish":["canary::canary"]}`,
			`{"Join":["canary"]}`, `{"subscribe":["canary"]}`, `{"join":[],"join":["canary"]}`,
		},
	}
}

func TestForgedTokens(t *testing.T) {
	v := fullVerifier(t)
	if _, err := v.Verify(goodToken()); err != nil {
		t.Fatalf("the token that is not forged: %v", err)
	}
	total := 0
	for group, tokens := range map[string]map[string]string{
		"shape": forgedShapes(), "key": forgedKeys(), "header": forgedHeaders(), "claims": forgedClaims(),
	} {
		for name, token := range tokens {
			total++
			t.Run(group+"/"+name, func(t *testing.T) {
				p, err := v.Verify(token)
				if p != nil || !errors.Is(err, auth.ErrInvalid) || errors.Is(err, auth.ErrExpired) {
					t.Fatalf("got %v, %v", p, err)
				}
				checkSaysNothing(t, err.Error(), token)
			})
		}
	}
	if total < 45 {
		t.Errorf("only %d tokens", total)
	}
}

// checkSaysNothing fails when an error text holds a piece of the token, or a
// string of its claims.
func checkSaysNothing(t *testing.T, text, token string) {
	t.Helper()
	if strings.Trim(token, ".") != "" {
		checkSilent(t, text, token)
	}
	if strings.Contains(text, "canary") {
		t.Errorf("%q quotes a claim", text)
	}
	for part := range strings.SplitSeq(token, ".") {
		decoded, _ := base64.RawURLEncoding.DecodeString(part)
		var members map[string]any
		if json.Unmarshal(decoded, &members) != nil {
			continue
		}
		for _, value := range members {
			// "JWT" and "HS256" are no secrets, nor is a word of one letter.
			if s, ok := value.(string); ok && len(s) > 5 && strings.Contains(text, s) {
				t.Errorf("%q quotes a value", text)
			}
		}
	}
}

// A key of one kind says nothing about the algorithms of another.
func TestKeysOpenOnlyTheirAlgorithms(t *testing.T) {
	for own, o := range map[string]auth.Options{
		"HS": {Secrets: [][]byte{[]byte(testSecret)}},
		"RS": {PublicKeysPEM: [][]byte{publicPEM("rsa")}},
		"ES": {PublicKeysPEM: [][]byte{publicPEM("p256")}},
		"Ed": {PublicKeysPEM: [][]byte{publicPEM("ed25519")}},
	} {
		v := newVerifier(t, o)
		secret := []byte(testSecret)
		if len(o.PublicKeysPEM) > 0 {
			secret = o.PublicKeysPEM[0]
		}
		for _, m := range append(append([]jwt.SigningMethod{}, hmacMethods...), rsaMethods[0], rsaMethods[3],
			jwt.SigningMethodES256, jwt.SigningMethodES384, jwt.SigningMethodES512, jwt.SigningMethodEdDSA) {
			var key any
			kind := m.Alg()[:2]
			switch m.Alg() {
			case "ES256":
				key = signers()["p256"].private
			case "ES384":
				key, kind = signers()["p384"].private, "other"
			case "ES512":
				key, kind = signers()["p521"].private, "other"
			case "EdDSA":
				key = signers()["ed25519"].private
			case "PS256", "RS256":
				key, kind = signers()["rsa"].private, "RS"
			default:
				key = secret
			}
			t.Run(own+"/"+m.Alg(), func(t *testing.T) {
				_, err := v.Verify(sign(m, key, headerOf(m), claimsWith()))
				if (err == nil) != (kind == own) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// No byte of a token can be changed, left out or put in.
func TestEveryByteCounts(t *testing.T) {
	v := fullVerifier(t)
	good := goodToken()
	check := func(what string, i int, token string) {
		if token == good {
			return
		}
		if _, err := v.Verify(token); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s at %d: %v", what, i, err)
		}
	}
	for i := range len(good) {
		for _, c := range []byte("Aa0-_.+/= \n\x00\xff") {
			check("changed", i, good[:i]+string([]byte{c})+good[i+1:])
			check("put in", i, good[:i]+string([]byte{c})+good[i:])
		}
		check("left out", i, good[:i]+good[i+1:])
		check("cut", i, good[:i])
		if good[i] != '.' {
			check("lowest bit", i, good[:i]+string([]byte{nextLetter(good[i])})+good[i+1:])
		}
	}
}
