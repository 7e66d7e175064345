package main

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// demoPath is the root of what the demo answers.
const demoPath = "/demo/"

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

// newFallback answers what is no WebSocket request. demo may be nil. Nothing but
// the demo, which is for this machine alone, reads what a request carries.
func newFallback(r *readiness, demo http.Handler) http.Handler {
	mux := http.NewServeMux()
	addProbes(mux, r)
	if demo != nil {
		mux.Handle(demoPath, demo)
		mux.Handle("GET /{$}", http.RedirectHandler(demoPath, http.StatusTemporaryRedirect))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		announced := r.ContentLength != 0 // -1 for chunks
		if announced && (demo == nil || !strings.HasPrefix(r.URL.Path, demoPath)) {
			refuseBody(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

const (
	// tooLarge is the answer to a request that announces a body.
	tooLarge = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	// refuseTimeout bounds the writing of it; a fresh socket takes it at once.
	refuseTimeout = 100 * time.Millisecond
)

// refuseBody answers 413 and closes the connection. The HTTP server would wait
// for the body before it answers, or for some time after: meanwhile the
// connection would hold one of the few places that the probes need too.
func refuseBody(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // a writer without a connection of its own
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(refuseTimeout))
	_, _ = io.WriteString(conn, tooLarge) // as far as it goes
	_ = conn.Close()
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
