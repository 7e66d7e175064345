package demo

import (
	"embed"
	"encoding/json"
	"net"
	"net/http"
	"strconv"

	"github.com/aegisx/pushd/internal/address"
)

//go:embed page
var page embed.FS

// Options configures the page.
type Options struct {
	// GRPCAddr is where the Control API listens; the commands name it.
	GRPCAddr string
	// GRPCNeedsKey says that the Control API asks for a bearer key.
	GRPCNeedsKey bool
	// Sign makes a token. It must be safe for concurrent use.
	Sign func(tenant address.TenantID, user address.UserID, roles []string) (string, error)
}

// asset is a file of the page.
type asset struct{ path, file, mime string }

// assets lists the files of the page, by their path under /demo/.
func assets() []asset {
	const script = "text/javascript; charset=utf-8"
	return []asset{
		{"{$}", "page/index.html", "text/html; charset=utf-8"},
		{"demo.css", "page/demo.css", "text/css; charset=utf-8"},
		{"demo.js", "page/demo.js", script},
		{"client.js", "page/client.js", script},
		{"commands.js", "page/commands.js", script},
		{"closecodes.js", "page/closecodes.js", script},
		{"icon.svg", "page/icon.svg", "image/svg+xml"},
	}
}

// Handler serves everything under /demo/.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	for _, a := range assets() {
		mux.HandleFunc("GET /demo/"+a.path, func(w http.ResponseWriter, r *http.Request) {
			text, err := page.ReadFile(a.file)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", a.mime)
			_, _ = w.Write(text)
		})
	}
	mux.HandleFunc("GET /demo/config.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"grpcAddr": o.GRPCAddr, "grpcNeedsKey": o.GRPCNeedsKey})
	})
	mux.HandleFunc("POST /demo/token", func(w http.ResponseWriter, r *http.Request) { serveToken(w, r, o) })
	return guard(mux)
}

// guard answers under loopback names only, and says what the page may do.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, ok := loopbackHost(r.Host)
		h := w.Header()
		h.Set("Content-Security-Policy", policy(host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !ok {
			writeError(w, http.StatusForbidden, "the demo is served under a loopback address only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// policy allows the page its own files and a socket to its own host. Browsers
// differ in whether 'self' covers ws:, so the host is named.
func policy(host string) string {
	connect := "connect-src 'self'"
	if host != "" {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// loopbackHost returns the Host header in a form that is safe to repeat, if it
// can only mean this machine.
func loopbackHost(header string) (host string, ok bool) {
	name, port, err := net.SplitHostPort(header)
	if err != nil {
		name, port = header, ""
		if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' {
			name = name[1 : len(name)-1]
		}
	}
	if port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", false
		}
	}
	ip := net.ParseIP(name)
	if name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", false
	}
	if ip != nil {
		name = ip.String()
	}
	if port != "" {
		return net.JoinHostPort(name, port), true
	}
	if ip != nil && ip.To4() == nil {
		return "[" + name + "]", true
	}
	return name, true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // It fails only when the peer is gone.
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}
