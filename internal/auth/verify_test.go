package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
)

// now is the clock of these tests.
var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func newVerifier(tb testing.TB, o auth.Options) *auth.Verifier {
	tb.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return now }
	}
	v, err := auth.NewVerifier(o)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// claimsWith returns good claims with some of them replaced: pairs of a name
// and a raw JSON value, an empty value leaving the claim out.
func claimsWith(pairs ...string) string {
	all := map[string]string{
		"tenantId": `"acme"`,
		"userId":   `"ann"`,
		"aud":      `"app-audience"`,
		"iss":      `"https://issuer.example"`,
		"exp":      fmt.Sprint(now.Add(time.Hour).Unix()),
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	var members []string
	for name, value := range all {
		if value != "" {
			members = append(members, fmt.Sprintf("%q:%s", name, value))
		}
	}
	slices.Sort(members)
	return "{" + strings.Join(members, ",") + "}"
}

func at(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }

const goodHeader = `{"alg":"HS256","typ":"JWT"}`

// hs256 signs with the secret of the tests.
func hs256(header, claims string) string {
	return sign(jwt.SigningMethodHS256, []byte(testSecret), header, claims)
}

func goodToken() string { return hs256(goodHeader, claimsWith()) }

// fullVerifier has a key of each kind and checks all that can be checked.
func fullVerifier(tb testing.TB) *auth.Verifier {
	tb.Helper()
	o := auth.Options{
		Secrets:  [][]byte{[]byte(testSecret)},
		Audience: "app-audience",
		Issuer:   "https://issuer.example",
	}
	for _, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
		o.PublicKeysPEM = append(o.PublicKeysPEM, publicPEM(name))
	}
	return newVerifier(tb, o)
}

func TestVerifyAlgorithms(t *testing.T) {
	all := fullVerifier(t)
	check := func(alg string, own *auth.Verifier, token string) {
		t.Run(alg, func(t *testing.T) {
			for name, v := range map[string]*auth.Verifier{"own key": own, "among all": all} {
				if _, err := v.Verify(token); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
		own := newVerifier(t, auth.Options{PublicKeysPEM: [][]byte{publicPEM(name)}})
		for _, m := range signers()[name].methods {
			check(m.Alg(), own, sign(m, signers()[name].private, headerOf(m), claimsWith()))
		}
	}
	own := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	for _, m := range hmacMethods {
		check(m.Alg(), own, sign(m, []byte(testSecret), headerOf(m), claimsWith()))
	}
}

func TestRotation(t *testing.T) {
	both := newVerifier(t, auth.Options{
		Secrets:       [][]byte{[]byte(otherSecret), []byte(testSecret)},
		PublicKeysPEM: [][]byte{publicPEM("other p256"), publicPEM("p256")},
	})
	onlyNew := newVerifier(t, auth.Options{
		Secrets:       [][]byte{[]byte(otherSecret)},
		PublicKeysPEM: [][]byte{publicPEM("other p256")},
	})
	es := jwt.SigningMethodES256
	for name, c := range map[string]struct {
		token string
		old   bool
	}{
		"new secret": {sign(jwt.SigningMethodHS256, []byte(otherSecret), goodHeader, claimsWith()), false},
		"old secret": {goodToken(), true},
		"new key":    {sign(es, signers()["other p256"].private, headerOf(es), claimsWith()), false},
		"old key":    {sign(es, signers()["p256"].private, headerOf(es), claimsWith()), true},
		"unknown kid": {sign(jwt.SigningMethodHS256, []byte(otherSecret),
			`{"alg":"HS256","kid":"who knows"}`, claimsWith()), false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := both.Verify(c.token); err != nil {
				t.Error(err)
			}
			if _, err := onlyNew.Verify(c.token); (err != nil) != c.old {
				t.Errorf("without the old keys: %v", err)
			}
		})
	}
}

func TestVerifyAccepts(t *testing.T) {
	v := fullVerifier(t)
	optional := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}, AllowNoExpiry: true})
	for name, c := range map[string]struct {
		v              *auth.Verifier
		header, claims string
	}{
		"plain":                  {v, goodHeader, claimsWith()},
		"header without typ":     {v, `{"alg":"HS256"}`, claimsWith()},
		"lower case typ":         {v, `{"alg":"HS256","typ":"jwt"}`, claimsWith()},
		"access token":           {v, `{"alg":"HS256","typ":"AT+jwt"}`, claimsWith()},
		"b64 as usual":           {v, `{"alg":"HS256","b64":true}`, claimsWith()},
		"unknown in header":      {v, `{"alg":"HS256","kid":"1","x5t":"a"}`, claimsWith()},
		"spaces in JSON":         {v, " {\"alg\" : \"HS256\"}\n", " " + claimsWith() + "\t"},
		"escaped names":          {v, `{"\u0061lg":"HS256"}`, strings.Replace(claimsWith(), "tenantId", `ten\u0061ntId`, 1)},
		"audience in a list":     {v, goodHeader, claimsWith("aud", `["other","app-audience"]`)},
		"unknown claims":         {v, goodHeader, claimsWith("scope", `{"a":[null]}`, "TENANTID", "7")},
		"leeway of nbf":          {v, goodHeader, claimsWith("nbf", at(30*time.Second))},
		"leeway of iat":          {v, goodHeader, claimsWith("iat", at(30*time.Second))},
		"fraction of exp":        {v, goodHeader, claimsWith("exp", at(0)+".5")},
		"exponent":               {v, goodHeader, claimsWith("exp", "2e9", "iat", "0", "nbf", "-0")},
		"last exp":               {v, goodHeader, claimsWith("exp", "253402300799")},
		"exponent of zero":       {v, goodHeader, claimsWith("iat", "0e99999")},
		"no exp if allowed":      {optional, goodHeader, claimsWith("exp", "")},
		"no aud, no iss":         {optional, goodHeader, claimsWith("aud", "", "iss", "")},
		"any aud":                {optional, goodHeader, claimsWith("aud", `[]`, "iss", `""`)},
		"tenant with a dot":      {v, goodHeader, claimsWith("tenantId", `"acme.example"`)},
		"tenant in other script": {v, goodHeader, claimsWith("tenantId", `"größe"`)},
		"user with a colon":      {v, goodHeader, claimsWith("userId", `"oidc:ann"`)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.v.Verify(hs256(c.header, c.claims)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPrincipal(t *testing.T) {
	v := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}, AllowNoExpiry: true})
	for name, c := range map[string]struct {
		claims string
		want   string
	}{
		"least":          {`{"tenantId":"t"}`, "t||[]||[]|[]|||"},
		"user":           {`{"tenantId":"t","userId":"u","exp":1900000000.25}`, "t|u|[]|2030-03-17T17:46:40.25Z|[]|[]|||"},
		"subject":        {`{"tenantId":"t","sub":"s"}`, "t|s|[]||[]|[]|||"},
		"user wins":      {`{"sub":"s","tenantId":"t","userId":"u"}`, "t|u|[]||[]|[]|||"},
		"roles":          {`{"tenantId":"t","roles":["b","a","b"]}`, "t||[a b]||[]|[]|||"},
		"role":           {`{"tenantId":"t","role":"c"}`, "t||[c]||[]|[]|||"},
		"roles and role": {`{"tenantId":"t","roles":["z","b"],"role":"b"}`, "t||[b z]||[]|[]|||"},
		"no roles":       {`{"tenantId":"t","roles":[]}`, "t||[]||[]|[]|||"},
		"channels":       {`{"tenantId":"t","channels":["a:*","b:**"]}`, "t||[]||[a:* b:**]|[a:* b:**]|||"},
		"split channels": {`{"tenantId":"t","channels":{"join":["a","b"],"publish":["c"]}}`, "t||[]||[a b]|[c]|||"},
		"join only":      {`{"tenantId":"t","channels":{"join":["a"]}}`, "t||[]||[a]|[]|||"},
		"publish only":   {`{"tenantId":"t","channels":{"publish":["a"]}}`, "t||[]||[]|[a]|||"},
		"no channels":    {`{"tenantId":"t","channels":{}}`, "t||[]||[]|[]|||"},
		"extra":          {`{"tenantId":"t","info":{"n": 1},"meta":[ 2 ],"jti":"id"}`, `t||[]||[]|[]|{"n": 1}|[ 2 ]|id`},
		"case variants":  {`{"tenantId":"t","UserId":"u","SUB":"s","Roles":["r"],"Channels":["a"],"JTI":"i"}`, "t||[]||[]|[]|||"},
		"escapes":        {`{"tenantId":"\u0074","userId":"\ud83d\ude00"}`, "t|😀|[]||[]|[]|||"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := v.Verify(hs256(goodHeader, c.claims))
			if err != nil {
				t.Fatal(err)
			}
			expires := ""
			if at := p.ExpiresAt(); !at.IsZero() {
				expires = at.UTC().Format(time.RFC3339Nano)
			}
			d := details(p)
			got := fmt.Sprintf("%s|%s|%v|%s|%v|%v|%s|%s|%s",
				p.Tenant, p.User, d.Roles, expires, d.Join, d.Publish, d.Info, d.Meta, d.TokenID)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// details returns what p has of them.
func details(p *auth.Principal) auth.Details {
	if p == nil || p.Details == nil {
		return auth.Details{}
	}
	return *p.Details
}

// TestPlainPrincipalIsSmall: a token that says no more than most costs a
// connection little.
func TestPlainPrincipalIsSmall(t *testing.T) {
	v := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	p, err := v.Verify(hs256(goodHeader, claimsWith("userId", `"u"`)))
	if err != nil {
		t.Fatal(err)
	}
	if n := unsafe.Sizeof(*p); n > 48 || p.Details != nil {
		t.Errorf("%d bytes and %v", n, p.Details)
	}
}

func TestBoundsOfClaims(t *testing.T) {
	v := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	list := func(format string, n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return string(must(json.Marshal(all)))
	}
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for name, c := range map[string]struct {
		claim, fits, tooMuch string
	}{
		"roles":            {"roles", list("r%d", 64), list("r%d", 65)},
		"length of a role": {"role", long(64), long(65)},
		"channels":         {"channels", list("c%d", 128), list("c%d", 129)},
		"join":             {"channels", `{"join":` + list("c%d", 128) + `}`, `{"join":` + list("c%d", 129) + `}`},
		"publish":          {"channels", `{"publish":` + list("c%d", 128) + `}`, `{"publish":` + list("c%d", 129) + `}`},
		"info":             {"info", long(1022), long(1023)},
		"tenant":           {"tenantId", long(128), long(129)},
		"user":             {"userId", long(128), long(129)},
		"pattern":          {"channels", "[" + long(200) + "]", "[" + long(201) + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := v.Verify(hs256(goodHeader, claimsWith(c.claim, c.fits))); err != nil {
				t.Errorf("at the bound: %v", err)
			}
			if _, err := v.Verify(hs256(goodHeader, claimsWith(c.claim, c.tooMuch))); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("over the bound: %v", err)
			}
		})
	}
	t.Run("token", func(t *testing.T) {
		for pad := 2900; pad <= 3000; pad++ {
			token := hs256(goodHeader, claimsWith("meta", long(pad)))
			if _, err := v.Verify(token); (err == nil) != (len(token) <= 4096) {
				t.Fatalf("%d bytes: %v", len(token), err)
			}
		}
	})
}

func TestExpired(t *testing.T) {
	v := fullVerifier(t)
	optional := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}, AllowNoExpiry: true})
	rs := jwt.SigningMethodRS256
	for name, c := range map[string]struct {
		v     *auth.Verifier
		token string
	}{
		"a second":          {v, hs256(goodHeader, claimsWith("exp", at(-time.Second)))},
		"right now":         {v, hs256(goodHeader, claimsWith("exp", at(0)))},
		"fraction":          {v, hs256(goodHeader, claimsWith("exp", at(-time.Second)+".999"))},
		"long ago":          {v, hs256(goodHeader, claimsWith("exp", "0"))},
		"exp is not needed": {optional, hs256(goodHeader, claimsWith("exp", at(-time.Hour)))},
		"RSA":               {v, sign(rs, signers()["rsa"].private, headerOf(rs), claimsWith("exp", at(-time.Hour)))},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := c.v.Verify(c.token)
			if p != nil || !errors.Is(err, auth.ErrExpired) || errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("got %v, %v", p, err)
			}
			checkSilent(t, err.Error(), c.token)
		})
	}
}

func TestClockIsAskedEachTime(t *testing.T) {
	clock := now
	v := newVerifier(t, auth.Options{
		Secrets: [][]byte{[]byte(testSecret)},
		Now:     func() time.Time { return clock },
	})
	token := goodToken()
	if _, err := v.Verify(token); err != nil {
		t.Fatal(err)
	}
	clock = now.Add(time.Hour)
	if _, err := v.Verify(token); !errors.Is(err, auth.ErrExpired) {
		t.Errorf("got %v", err)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	v := fullVerifier(t)
	good, bad := goodToken(), hs256(goodHeader, claimsWith("tenantId", "1"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := v.Verify(good); err != nil {
					t.Error(err)
				}
				if _, err := v.Verify(bad); !errors.Is(err, auth.ErrInvalid) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPrincipalInLogs(t *testing.T) {
	v := newVerifier(t, auth.Options{Secrets: [][]byte{[]byte(testSecret)}})
	p, err := v.Verify(hs256(goodHeader, claimsWith(
		"info", `"canary"`, "meta", `"canary"`, "jti", `"canary"`, "roles", `["canary"]`, "channels", `["canary"]`)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "principal", p)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "principal", p)
	fmt.Fprintf(&out, "%v %+v %s", p, p, p)
	if strings.Contains(out.String(), "canary") || !strings.Contains(out.String(), "ann of acme") ||
		!strings.Contains(out.String(), "principal.tenant=acme") {
		t.Error(out.String())
	}
	anonymous := &auth.Principal{Tenant: p.Tenant}
	if got := anonymous.String(); got != "anonymous of acme" {
		t.Error(got)
	}
	var none *auth.Principal
	if got := fmt.Sprintf("%s/%s", none, none.LogValue()); got != "nobody/nobody" {
		t.Error(got)
	}
}

func TestHasRole(t *testing.T) {
	tenant := must(address.ParseTenantID("acme"))
	p := &auth.Principal{Tenant: tenant, Details: &auth.Details{Roles: []string{"admin", "staff"}}}
	for role, want := range map[string]bool{"admin": true, "staff": true, "Admin": false, "adm": false, "": false} {
		if p.HasRole(role) != want {
			t.Errorf("%q: %v", role, !want)
		}
	}
	if (&auth.Principal{Tenant: tenant}).HasRole("admin") {
		t.Error("a role out of nothing")
	}
}
