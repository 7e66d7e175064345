package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func ask(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Body.String()
}

func TestProbes(t *testing.T) {
	up := true
	r := &readiness{messaging: func() bool { return up }}
	h := newFallback(r, nil)
	check := func(path string, status int, text string) {
		t.Helper()
		if code, body := ask(t, h, http.MethodGet, path); code != status || body != text+"\n" {
			t.Errorf("%s: got %d %q, want %d %q", path, code, body, status, text)
		}
	}
	check("/healthz", 200, "ok")
	check("/readyz", 200, "ready")
	up = false
	check("/healthz", 200, "ok")
	check("/readyz", 503, "messaging is not available")
	up = true
	r.drain()
	check("/healthz", 200, "ok")
	check("/readyz", 503, "draining")
}

func TestFallbackPaths(t *testing.T) {
	r := &readiness{messaging: func() bool { return true }}
	demo := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "demo") })
	for name, c := range map[string]struct {
		demo         http.Handler
		method, path string
		status       int
	}{
		"head":           {nil, http.MethodHead, "/healthz", 200},
		"post":           {nil, http.MethodPost, "/healthz", 405},
		"unknown":        {nil, http.MethodGet, "/nothing", 404},
		"root":           {nil, http.MethodGet, "/", 404},
		"no demo":        {nil, http.MethodGet, "/demo/", 404},
		"no metrics":     {demo, http.MethodGet, "/metrics", 404},
		"no profiles":    {demo, http.MethodGet, "/debug/pprof/", 404},
		"demo":           {demo, http.MethodGet, "/demo/", 200},
		"demo token":     {demo, http.MethodPost, "/demo/token", 200},
		"root with demo": {demo, http.MethodGet, "/", 307},
		"unknown, demo":  {demo, http.MethodGet, "/nothing", 404},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _ := ask(t, newFallback(r, c.demo), c.method, c.path); code != c.status {
				t.Errorf("got %d, want %d", code, c.status)
			}
		})
	}
}

func TestMetricsServer(t *testing.T) {
	h := newMetricsServer(newRegistry(buildInfo{Version: "v1", Go: "go1"}), &readiness{messaging: func() bool { return true }}).Handler
	code, text := ask(t, h, http.MethodGet, "/metrics")
	if code != http.StatusOK || !strings.Contains(text, `pushd_build_info{go="go1",version="v1"} 1`) {
		t.Errorf("metrics: %d %s", code, text)
	}
	if code, _ := ask(t, h, http.MethodGet, "/debug/pprof/goroutine?debug=1"); code != http.StatusOK {
		t.Errorf("goroutine profile: %d", code)
	}
	if code, _ := ask(t, h, http.MethodGet, "/debug/pprof/cmdline"); code != http.StatusNotFound {
		t.Errorf("the command line, which may hold secrets, is served: %d", code)
	}
	if code, _ := ask(t, h, http.MethodGet, "/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d", code)
	}
}
