package e2e_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

const (
	audience = "app-of-the-tests"
	issuer   = "https://issuer.example"
	// bearer is how a token is given in most requests.
	bearer = "Authorization: Bearer "
)

// forger makes tokens, right ones and others. It knows every key that the
// server knows, and its public key in every form.
type forger struct {
	rsaKey *rsa.PrivateKey
	pem    []byte // of the public key
	now    time.Time
}

func newForger(t *testing.T) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), time.Now()}
}

func b64(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

const (
	hs256Header = `{"alg":"HS256","typ":"JWT"}`
	rs256Header = `{"alg":"RS256","typ":"JWT"}`
)

func sum(h func() hash.Hash, key, text string) string {
	mac := hmac.New(h, []byte(key))
	mac.Write([]byte(text))
	return b64(mac.Sum(nil))
}

// hs signs with HMAC-SHA256, whatever the header says.
func hs(header, claims, key string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	return text + "." + sum(sha256.New, key, text)
}

// rs signs with PKCS #1 v1.5 and SHA-256, whatever the header says.
func (f *forger) rs(t *testing.T, header, claims string, key *rsa.PrivateKey) string {
	t.Helper()
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(signature)
}

// claims returns good claims as JSON, with changes: a nil value takes a claim
// out. The canary is in every string that a log might quote.
func (f *forger) claims(changes claims) string {
	all := claims{
		"tenantId": "acme-" + canary, "userId": "ann-" + canary, "aud": audience, "iss": issuer,
		"iat": f.now.Unix(), "exp": f.now.Add(time.Hour).Unix(), "jti": "id-" + canary,
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(all)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (f *forger) good() string { return hs(hs256Header, f.claims(nil), secret) }

// shapes are no tokens, or damaged ones.
func (f *forger) shapes() map[string]string {
	good := f.good()
	parts := strings.Split(good, ".")
	other := strings.Split(hs(hs256Header, f.claims(claims{"tenantId": "globex"}), secret), ".")
	return map[string]string{
		"a word":                "nonsense-of-" + canary,
		"only dots":             "..",
		"two parts":             parts[0] + "." + parts[1],
		"four parts":            good + ".AAAA",
		"five parts":            good + ".AAAA.AAAA",
		"no signature":          parts[0] + "." + parts[1] + ".",
		"no header":             "." + parts[1] + "." + parts[2],
		"no claims":             parts[0] + ".." + parts[2],
		"cut signature":         good[:len(good)-1],
		"half a signature":      good[:len(good)-21],
		"longer signature":      good + "AA",
		"padded":                good + "=",
		"claims of another":     parts[0] + "." + other[1] + "." + parts[2],
		"signature of another":  parts[0] + "." + parts[1] + "." + other[2],
		"space in the token":    parts[0] + ". " + parts[1] + "." + parts[2],
		"Bearer twice":          "Bearer " + good,
		"quoted":                `"` + good + `"`,
		"longer than 4 KiB":     hs(hs256Header, f.claims(claims{"meta": strings.Repeat("x", 3300)}), secret),
		"flipped bit in claims": parts[0] + "." + flip(parts[1]) + "." + parts[2],
		"flipped bit in header": flip(parts[0]) + "." + parts[1] + "." + parts[2],
		"flipped bit at end":    parts[0] + "." + parts[1] + "." + flip(parts[2]),
	}
}

// flip changes the character in the middle.
func flip(s string) string {
	i := len(s) / 2
	c := byte('A')
	if s[i] == c {
		c = 'B'
	}
	return s[:i] + string(c) + s[i+1:]
}

// keys are tokens with a wrong signature, or with one of another algorithm than
// the header says.
func (f *forger) keys(t *testing.T) map[string]string {
	t.Helper()
	good := f.claims(nil)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&f.rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := b64([]byte(hs256Header)) + "." + b64([]byte(good))
	return map[string]string{
		"other secret":            hs(hs256Header, good, "another secret that is long enough for HS256"),
		"empty secret":            hs(hs256Header, good, ""),
		"secret with line end":    hs(hs256Header, good, secret+"\n"),
		"half the secret":         hs(hs256Header, good, secret[:len(secret)/2]),
		"public PEM as secret":    hs(hs256Header, good, string(f.pem)),
		"trimmed PEM as secret":   hs(hs256Header, good, strings.TrimSpace(string(f.pem))),
		"public DER as secret":    hs(hs256Header, good, string(der)),
		"HS512 called HS256":      text + "." + sum(sha512.New, secret, text),
		"HS256 called HS512":      hs(`{"alg":"HS512"}`, good, secret),
		"HS256 called RS256":      hs(rs256Header, good, secret),
		"RS256 called HS256":      f.rs(t, hs256Header, good, f.rsaKey),
		"RS256 called PS256":      f.rs(t, `{"alg":"PS256"}`, good, f.rsaKey),
		"RS256 of a stranger":     f.rs(t, rs256Header, good, stranger),
		"RS256 of zeros":          b64([]byte(rs256Header)) + "." + b64([]byte(good)) + "." + strings.Repeat("A", 342),
		"ES256, no such key":      b64([]byte(`{"alg":"ES256"}`)) + "." + b64([]byte(good)) + "." + strings.Repeat("A", 86),
		"expired by other secret": hs(hs256Header, f.claims(claims{"exp": f.now.Add(-time.Hour).Unix()}), "another secret that is long enough for HS256"),
	}
}

// headers are signed by the right secret under a header that must not pass.
func (f *forger) headers() map[string]string {
	all := make(map[string]string)
	for name, header := range map[string]string{
		"none":           `{"alg":"none"}`,
		"None":           `{"alg":"None"}`,
		"hs256":          `{"alg":"hs256"}`,
		"no algorithm":   `{"typ":"JWT"}`,
		"empty":          `{"alg":""}`,
		"number":         `{"alg":256}`,
		"null header":    `null`,
		"array header":   `["HS256"]`,
		"algorithm bis":  `{"alg":"HS256","alg":"none"}`,
		"critical":       `{"alg":"HS256","crit":["exp"]}`,
		"brings a key":   `{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`,
		"names a key":    `{"alg":"HS256","jku":"https://` + canary + `.example/keys"}`,
		"unencoded":      `{"alg":"HS256","b64":false}`,
		"logout token":   `{"alg":"HS256","typ":"logout+jwt"}`,
		"broken header":  `{"alg":"HS256"`,
		"two headers":    `{"alg":"HS256"}{"alg":"HS256"}`,
		"byte order":     "\ufeff" + hs256Header,
		"encrypted, dir": `{"alg":"dir","enc":"A256GCM"}`,
	} {
		all["header "+name] = hs(header, f.claims(nil), secret)
	}
	bare := b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64([]byte(f.claims(nil))) + "."
	all["header none, no signature"] = bare
	all["header none, no signature, expired"] = b64([]byte(`{"alg":"none"}`)) + "." +
		b64([]byte(f.claims(claims{"exp": f.now.Add(-time.Hour).Unix()}))) + "."
	return all
}

// claimed are signed by the right secret with claims that must not pass.
func (f *forger) claimed() map[string]string {
	past, future := f.now.Add(-time.Hour).Unix(), f.now.Add(time.Hour).Unix()
	all := make(map[string]string)
	for name, changes := range map[string]claims{
		"no tenant":           {"tenantId": nil},
		"empty tenant":        {"tenantId": ""},
		"tenant a number":     {"tenantId": 1},
		"tenant a list":       {"tenantId": []string{"acme", canary}},
		"tenant with colon":   {"tenantId": "1:" + canary},
		"tenant a wildcard":   {"tenantId": "*"},
		"tenant with space":   {"tenantId": "a " + canary},
		"tenant with NUL":     {"tenantId": "a\x00" + canary},
		"tenant in capitals":  {"tenantId": nil, "TENANTID": canary},
		"user a number":       {"userId": 7},
		"user empty":          {"userId": ""},
		"user with line end":  {"userId": canary + "\n"},
		"bad subject beside":  {"sub": " " + canary},
		"no expiry":           {"exp": nil},
		"expiry a text":       {"exp": fmt.Sprint(future)},
		"expiry too far":      {"exp": 1e18},
		"expiry negative":     {"exp": -1},
		"not yet":             {"nbf": future},
		"from the future":     {"iat": future},
		"other audience":      {"aud": "other-" + canary},
		"no audience":         {"aud": nil},
		"other issuer":        {"iss": "https://" + canary + ".example"},
		"no issuer":           {"iss": nil},
		"roles a text":        {"roles": "admin"},
		"role a list":         {"role": []string{"admin"}},
		"channels a text":     {"channels": canary + ":**"},
		"channels misspelled": {"channels": claims{"subscribe": []string{"**"}}},
		"channels malformed":  {"channels": []string{canary + "::x"}},
		"jti a number":        {"jti": 7},
		"expired, no tenant":  {"exp": past, "tenantId": nil},
		"expired, other aud":  {"exp": past, "aud": "other"},
		"expired, bad user":   {"exp": past, "userId": "a b"},
	} {
		all["claims "+name] = hs(hs256Header, f.claims(changes), secret)
	}
	good := f.claims(nil)
	all["claims tenant twice"] = hs(hs256Header, strings.TrimSuffix(good, "}")+`,"tenantId":"globex"}`, secret)
	all["claims tenant twice, escaped"] = hs(hs256Header, strings.TrimSuffix(good, "}")+`,"tenant\u0049d":"globex"}`, secret)
	all["claims null"] = hs(hs256Header, "null", secret)
	all["claims a list"] = hs(hs256Header, "["+good+"]", secret)
	all["claims cut"] = hs(hs256Header, strings.TrimSuffix(good, "}"), secret)
	all["claims not UTF-8"] = hs(hs256Header, strings.TrimSuffix(good, "}")+",\"x\":\"\xff\"}", secret)
	return all
}

// startGuarded runs a node that checks everything in a token that it can.
func startGuarded(ctx context.Context, t *testing.T, f *forger, args ...string) *harness.Node {
	t.Helper()
	path := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(path, f.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return startNode(ctx, t, "guarded", append([]string{
		"--jwt-public-key-file", path, "--jwt-audience", audience, "--jwt-issuer", issuer,
	}, args...)...)
}

func TestForgedTokensAreRefusedAlike(t *testing.T) {
	ctx := bounded(t)
	f := newForger(t)
	n := startGuarded(ctx, t, f)
	for name, token := range map[string]string{"HS256": f.good(), "RS256": f.rs(t, rs256Header, f.claims(nil), f.rsaKey)} {
		suite.secrets.add(token)
		s, err := harness.Dial(ctx, n.WebSocket(), token, nil)
		if err != nil {
			t.Fatalf("right token by %s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// The whole answer to a request without a token, byte for byte.
	want := exchange(ctx, t, n.HTTP, upgradeRequest("/ws"))
	if !strings.HasPrefix(want, "HTTP/1.1 101 ") || !strings.HasSuffix(want, "\r\n\r\n\x88\x0f\x10\x69token_invalid") {
		t.Fatalf("without a token: %q", want)
	}
	forged := make(map[string]string)
	for _, group := range []map[string]string{f.shapes(), f.keys(t), f.headers(), f.claimed()} {
		maps.Copy(forged, group)
	}
	if len(forged) < 40 {
		t.Errorf("only %d tokens", len(forged))
	}
	for name, token := range forged {
		suite.secrets.add(token)
		for way, request := range waysToGive(token) {
			if got := exchange(ctx, t, n.HTTP, request); got != want {
				t.Errorf("%s by %s: %q", name, way, got)
			}
		}
	}
	checkNobodyCameIn(ctx, t, n, 2)
}

// waysToGive returns requests that carry a token.
func waysToGive(token string) map[string]string {
	return map[string]string{
		"header": upgradeRequest("/ws", bearer+token),
		"query":  upgradeRequest("/ws?token=" + url.QueryEscape(token)),
	}
}

// checkNobodyCameIn compares the connections that a node ever registered.
func checkNobodyCameIn(ctx context.Context, t *testing.T, n *harness.Node, allowed float64) {
	t.Helper()
	opened, err := n.Metric(ctx, "pushd_edge_opened_total", "")
	if err != nil {
		t.Fatal(err)
	}
	if opened != allowed {
		t.Errorf("%v connections were registered, want %v", opened, allowed)
	}
	awaitStats(ctx, t, control(t, n), func(r *pushdv1.StatsResponse) error {
		if r.GetTotals().GetConnections() != 0 || len(r.GetTenants()) != 0 {
			return errors.New("somebody is connected")
		}
		return nil
	})
}

func TestExpiredTokensAreToldApart(t *testing.T) {
	ctx := bounded(t)
	f := newForger(t)
	n := startGuarded(ctx, t, f)
	expired := f.claims(claims{"exp": f.now.Add(-time.Second).Unix()})
	for name, token := range map[string]string{
		"HS256": hs(hs256Header, expired, secret),
		"RS256": f.rs(t, rs256Header, expired, f.rsaKey),
	} {
		suite.secrets.add(token)
		for way, request := range waysToGive(token) {
			got := exchange(ctx, t, n.HTTP, request)
			if !strings.HasSuffix(got, "\r\n\r\n\x88\x0f\x10\x68token_expired") {
				t.Errorf("%s by %s: %q", name, way, got)
			}
		}
	}
	checkNobodyCameIn(ctx, t, n, 0)
}

// A connection does not outlive its token.
func TestTokenExpiresWhileConnected(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	for life := 3 * time.Second; ; life *= 3 { // longer than it takes to connect
		began := time.Now()
		token := sign(t, claims{"tenantId": "acme", "userId": "ann", "exp": began.Add(life).Unix()})
		s, err := harness.Dial(ctx, n.WebSocket(), token, nil)
		if err != nil && time.Since(began) > life-time.Second && life < patience {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		closed, err := s.AwaitClose(ctx)
		if err != nil || closed.Code != 4200 {
			t.Errorf("%v, %v", closed, err)
		}
		// exp is in whole seconds.
		if lived := time.Since(began); lived < life-time.Second {
			t.Errorf("it was closed after %s", lived)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return
	}
}

// TestWhereTokensMayStand tries each place, and what wins when there are two.
func TestWhereTokensMayStand(t *testing.T) {
	ctx := bounded(t)
	const origin = "https://app.example.com"
	open := startNode(ctx, t, "open")
	listed := startNode(ctx, t, "listed", "--allow-origin", origin)
	good, bad := sign(t, claims{"tenantId": "acme"}), "bad-"+canary
	const welcome, invalid, none = `{"type":"connection"`, "token_invalid", "HTTP/1.1 400 "
	for name, c := range map[string]struct {
		node    *harness.Node
		request string
		want    string
	}{
		"header":                 {open, upgradeRequest("/ws", bearer+good), welcome},
		"header, small letters":  {open, upgradeRequest("/ws", "authorization: bearer "+good), welcome},
		"subprotocol":            {open, upgradeRequest("/ws", "Sec-WebSocket-Protocol: pushd.plain, pushd.jwt."+good), welcome},
		"subprotocol first":      {open, upgradeRequest("/ws", "Sec-WebSocket-Protocol: pushd.jwt."+good+", pushd.plain"), welcome},
		"subprotocol alone":      {open, upgradeRequest("/ws", "Sec-WebSocket-Protocol: pushd.jwt."+good), none},
		"query":                  {open, upgradeRequest("/ws?token=" + good), welcome},
		"query among others":     {open, upgradeRequest("/ws?v=1&token=" + good + "&token=" + bad), welcome},
		"header over query":      {open, upgradeRequest("/ws?token="+good, bearer+bad), invalid},
		"subprotocol over query": {open, upgradeRequest("/ws?token="+good, "Sec-WebSocket-Protocol: pushd.plain, pushd.jwt."+bad), invalid},
		"basic authorization":    {open, upgradeRequest("/ws", "Authorization: Basic "+good), invalid},
		"cookie without a list":  {open, upgradeRequest("/ws", "Cookie: token="+good), invalid},
		"cookie with a list":     {listed, upgradeRequest("/ws", "Cookie: a=b; token="+good, "Origin: "+origin), welcome},
		"other cookie":           {listed, upgradeRequest("/ws", "Cookie: tokens="+good, "Origin: "+origin), invalid},
		"nothing":                {open, upgradeRequest("/ws"), invalid},
		"empty header":           {open, upgradeRequest("/ws", "Authorization: Bearer"), invalid},
	} {
		t.Run(name, func(t *testing.T) {
			// A close frame of a client ends the connections that are welcome.
			got := exchange(ctx, t, c.node.HTTP, c.request+goodbye)
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %s", got, c.want)
			}
			if strings.Contains(got, "pushd.jwt") || strings.Contains(got, good) {
				t.Errorf("the token came back: %q", got)
			}
		})
	}
}
