package demo_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/demo"
)

const host = "127.0.0.1:8080"

func newHandler() http.Handler {
	return demo.Handler(demo.Options{
		GRPCAddr: "127.0.0.1:9090",
		Sign: func(t address.TenantID, u address.UserID, roles []string) (string, error) {
			if u.String() == "unlucky" {
				return "", errors.New("the key is sticky")
			}
			return strings.Join(append([]string{t.String(), u.String()}, roles...), "/"), nil
		},
	})
}

func get(t *testing.T, path, host string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	newHandler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPageLoadsOnlyItsOwnFiles(t *testing.T) {
	index := get(t, "/demo/", host)
	if index.StatusCode != http.StatusOK {
		t.Fatalf("status %d", index.StatusCode)
	}
	html := body(t, index)
	if strings.Contains(html, "<style") || regexp.MustCompile(`(?i)\s(on[a-z]+|style)=`).MatchString(html) {
		t.Error("the page has inline style or script, which its policy forbids")
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(html) {
		t.Error("the page has an inline script")
	}
	texts := []string{html}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#?]+)"`).FindAllStringSubmatch(html, -1) {
		texts = append(texts, asset(t, m[1]))
	}
	for _, m := range regexp.MustCompile(`from '\./([^']+)'`).FindAllStringSubmatch(asset(t, "demo.js")+asset(t, "client.js"), -1) {
		texts = append(texts, asset(t, m[1]))
	}
	for _, text := range texts {
		if m := regexp.MustCompile(`https?://[^\s"'<]+`).FindString(text); m != "" && m != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names a foreign address: %s", m)
		}
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(text, word) {
				t.Errorf("the page uses %s", word)
			}
		}
	}
}

func asset(t *testing.T, name string) string {
	t.Helper()
	r := get(t, "/demo/"+name, host)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d", name, r.StatusCode)
	}
	return body(t, r)
}

func TestScriptsFindTheirElements(t *testing.T) {
	html, script := asset(t, ""), asset(t, "demo.js")
	for _, m := range regexp.MustCompile(`(?:\$|submit)\('([a-z-]+)'`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(html, `id="`+m[1]+`"`) {
			t.Errorf("demo.js uses #%s, which the page doesn't have", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`data-copies="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if !strings.Contains(html, `id="`+m[1]+`"`) {
			t.Errorf("a copy button names #%s, which the page doesn't have", m[1])
		}
	}
}

func TestPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		host, connect string
		status        int
	}{
		"address":      {"127.0.0.1:8080", "connect-src 'self' ws://127.0.0.1:8080 wss://127.0.0.1:8080;", 200},
		"other":        {"127.8.9.1:80", "connect-src 'self' ws://127.8.9.1:80 wss://127.8.9.1:80;", 200},
		"name":         {"localhost:1", "connect-src 'self' ws://localhost:1 wss://localhost:1;", 200},
		"no port":      {"localhost", "connect-src 'self' ws://localhost wss://localhost;", 200},
		"ipv6":         {"[::1]:8080", "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;", 200},
		"ipv6 no port": {"[::1]", "connect-src 'self' ws://[::1] wss://[::1];", 200},
		"rebound":      {"evil.example:8080", "connect-src 'self';", 403},
		"public":       {"192.0.2.7:8080", "connect-src 'self';", 403},
		"suffix":       {"localhost.evil.example", "connect-src 'self';", 403},
		"injection":    {"localhost:1; script-src *", "connect-src 'self';", 403},
		"empty":        {"", "connect-src 'self';", 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := get(t, "/demo/", c.host)
			policy := r.Header.Get("Content-Security-Policy")
			if r.StatusCode != c.status {
				t.Errorf("status %d, want %d", r.StatusCode, c.status)
			}
			for _, part := range []string{"default-src 'none';", "script-src 'self';", "frame-ancestors 'none'", c.connect} {
				if !strings.Contains(policy, part) {
					t.Errorf("policy %q lacks %q", policy, part)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
				t.Errorf("policy %q is lax", policy)
			}
			if r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("nosniff is missing")
			}
		})
	}
}

func TestUnknownPaths(t *testing.T) {
	for _, path := range []string{"/demo/nothing", "/demo/page/index.html", "/demo/handler.go", "/demo/token"} {
		if r := get(t, path, host); r.StatusCode != http.StatusNotFound && r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d", path, r.StatusCode)
		}
	}
}

func TestConfigNamesTheServer(t *testing.T) {
	var c struct {
		GRPCAddr     string `json:"grpcAddr"`
		GRPCNeedsKey bool   `json:"grpcNeedsKey"`
	}
	if err := json.Unmarshal([]byte(asset(t, "config.json")), &c); err != nil {
		t.Fatal(err)
	}
	if c.GRPCAddr != "127.0.0.1:9090" || c.GRPCNeedsKey {
		t.Errorf("got %+v", c)
	}
}
