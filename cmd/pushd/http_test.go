package main

import (
	"context"
	"io"
	"net"
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

// What announces a body and never sends it must not hold the places of the HTTP
// server, which are fewer than these.
func TestAnnouncedBodiesHoldNoPlace(t *testing.T) {
	_, at, _ := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	end, _ := ctx.Deadline()
	framings := []string{"Content-Length: 1", "Content-Length: 10000000", "Transfer-Encoding: chunked"}
	for i := range 300 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(end); err != nil {
			t.Fatal(err)
		}
		framing := framings[i%len(framings)]
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: a\r\n"+framing+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 413 ") {
			t.Fatalf("request %d, %s: %q, %v", i, framing, text, err)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := fetch(t, "http://"+at.HTTP+path); status != http.StatusOK {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
}

// Only the demo takes bodies.
func TestFallbackBodies(t *testing.T) {
	r := &readiness{messaging: func() bool { return true }}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	for name, c := range map[string]struct {
		demo   http.Handler
		path   string
		status int
	}{
		"demo":    {echo, "/demo/token", 200},
		"no demo": {nil, "/demo/token", 413},
		"probe":   {echo, "/healthz", 413},
		"unknown": {echo, "/nothing", 413},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(newFallback(r, c.demo))
			defer server.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+c.path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != c.status || (string(text) == "body") != (c.status == http.StatusOK) {
				t.Errorf("got %d %q, %v, want %d", answer.StatusCode, text, err, c.status)
			}
		})
	}
	w := httptest.NewRecorder()
	newFallback(r, nil).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("body")))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("without a connection: %d", w.Code)
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
