package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func newToken(t *testing.T, args ...string) string {
	t.Helper()
	r := runCommand(t, "", variables{"PUSHD_JWT_SECRET": testSecret}, append([]string{"token", "new"}, args...)...)
	if r.code != exitOK {
		t.Fatalf("token new: code %d: %s", r.code, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

func TestTokenNewPrintsOnlyTheToken(t *testing.T) {
	file := write(t, testSecret+"\n")
	for name, r := range map[string]result{
		"variable": runCommand(t, "", variables{"PUSHD_JWT_SECRET": testSecret}, "token", "new", "--tenant", "acme"),
		"file":     runCommand(t, "", nil, "token", "new", "--tenant", "acme", "--user", "ann", "--secret-file", file),
		"flag":     runCommand(t, "", nil, "token", "new", "--tenant", "acme", "--secret", testSecret),
	} {
		t.Run(name, func(t *testing.T) {
			token, rest, _ := strings.Cut(r.out, "\n")
			if r.code != exitOK || strings.Count(token, ".") != 2 || rest != "" || r.err != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestTokenNewRefusals(t *testing.T) {
	env := variables{"PUSHD_JWT_SECRET": testSecret}
	for name, c := range map[string]struct {
		env  variables
		args []string
		want string
	}{
		"no secret":   {nil, []string{"--tenant", "acme"}, "--secret-file"},
		"no tenant":   {env, nil, "--tenant"},
		"bad tenant":  {env, []string{"--tenant", "a:b"}, "--tenant"},
		"bad user":    {env, []string{"--tenant", "acme", "--user", "a b"}, "--user"},
		"bad pattern": {env, []string{"--tenant", "acme", "--channel", "a::b"}, "--channel"},
		"no time":     {env, []string{"--tenant", "acme", "--ttl", "0s"}, "--ttl"},
		"argument":    {env, []string{"acme"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", c.env, append([]string{"token", "new"}, c.args...)...)
			if r.code != exitUsage || r.out != "" || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %q", r, c.want)
			}
		})
	}
	if r := runCommand(t, "", variables{"PUSHD_JWT_SECRET": "short"}, "token", "new", "--tenant", "acme"); r.code == exitOK || r.out != "" {
		t.Errorf("a short secret is taken: %+v", r)
	}
}

func TestTokenInspect(t *testing.T) {
	token := newToken(t, "--tenant", "acme", "--user", "ann", "--role", "admin", "--role", "staff", "--channel", "orders:*", "--audience", "app", "--issuer", "us")
	r := runCommand(t, token+"\n", nil, "token", "inspect")
	if r.code != exitOK || !strings.Contains(r.err, "Nothing was verified") {
		t.Fatalf("got %+v", r)
	}
	var parts struct {
		Header struct{ Alg string }
		Claims struct {
			UserID   string `json:"userId"`
			TenantID string `json:"tenantId"`
			Sub      string
			Roles    []string
			Channels []string
			Iss      string
			Exp, Iat float64
		}
		Times map[string]string
	}
	if err := json.Unmarshal([]byte(r.out), &parts); err != nil {
		t.Fatal(err)
	}
	c := parts.Claims
	if parts.Header.Alg != "HS256" || c.TenantID != "acme" || (c.UserID != "ann" && c.Sub != "ann") || c.Iss != "us" ||
		strings.Join(c.Roles, " ") != "admin staff" || strings.Join(c.Channels, " ") != "orders:*" || c.Exp-c.Iat != 3600 {
		t.Errorf("got %s", r.out)
	}
	if !strings.Contains(parts.Times["exp"], ", in ") || !strings.Contains(parts.Times["iat"], "Z, ") {
		t.Errorf("times %v", parts.Times)
	}
}

func TestTokenInspectVerifies(t *testing.T) {
	token := newToken(t, "--tenant", "acme")
	env := variables{"PUSHD_JWT_SECRET": testSecret}
	other := variables{"PUSHD_JWT_SECRET": strings.Repeat("other", 20)}
	for name, c := range map[string]struct {
		env  variables
		args []string
		code int
		want string
	}{
		"right":       {env, []string{token}, exitOK, "Verified"},
		"wrong":       {other, []string{token}, exitFailure, "not valid"},
		"no token":    {nil, []string{"nonsense"}, exitFailure, "not a token"},
		"from stdin":  {env, []string{"-"}, exitOK, "Verified"},
		"too many":    {env, []string{token, token}, exitUsage, ""},
		"short key":   {variables{"PUSHD_JWT_SECRET": "short"}, []string{token}, exitUsage, ""},
		"two secrets": {env, []string{"--secret", "a", "--secret-file", "b", token}, exitUsage, "not both"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, token, c.env, append([]string{"token", "inspect"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %d %q", r, c.code, c.want)
			}
		})
	}
}

func TestTokenTimes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	got := tokenTimes([]byte(`{"exp":1800003600,"iat":1799999990.5,"nbf":1800000000,"other":1}`), now)
	want := map[string]string{
		"exp": "2027-01-15T09:00:00Z, in 1h",
		"iat": "2027-01-15T07:59:50Z, 10s ago",
		"nbf": "2027-01-15T08:00:00Z, now",
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: got %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, claims := range []string{`{"exp":"soon"}`, `{"exp":1e300}`, `{"exp":-1}`, `[]`, `{}`} {
		if got := tokenTimes([]byte(claims), now); len(got) != 0 {
			t.Errorf("%s: got %v", claims, got)
		}
	}
}
