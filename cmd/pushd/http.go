package main

import (
	"io"
	"net/http"
	"sync/atomic"
)

// readiness says whether this node should get traffic. Safe for concurrent
// use.
type readiness struct {
	// messaging reports whether messages can be exchanged. Set once.
	messaging func() bool
	draining  atomic.Bool
}

// drain turns readiness off for good.
func (r *readiness) drain() { r.draining.Store(true) }

func (r *readiness) status() (text string, ok bool) {
	switch {
	case r.draining.Load():
		return "draining", false
	case !r.messaging():
		return "messaging is not available", false
	default:
		return "ready", true
	}
}

// newFallback answers what is no WebSocket request. demo may be nil.
func newFallback(r *readiness, demo http.Handler) http.Handler {
	mux := http.NewServeMux()
	addProbes(mux, r)
	if demo != nil {
		mux.Handle("/demo/", demo)
		mux.Handle("GET /{$}", http.RedirectHandler("/demo/", http.StatusTemporaryRedirect))
	}
	return mux
}

// addProbes adds liveness and readiness.
func addProbes(mux *http.ServeMux, r *readiness) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeProbe(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		text, ok := r.status()
		if !ok {
			writeProbe(w, http.StatusServiceUnavailable, text)
			return
		}
		writeProbe(w, http.StatusOK, text)
	})
}

func writeProbe(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
