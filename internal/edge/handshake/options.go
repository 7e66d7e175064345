package handshake

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the options.
const (
	minHeadBytes = 512
	maxHeadBytes = 1 << 20
	maxHeaders   = 1024
)

// Refusal is Admit's no.
type Refusal struct {
	// Status is 503 or 429; anything else counts as 503.
	Status int
	// RetryAfter is told to the client, in whole seconds, at least 1.
	RetryAfter time.Duration
	// Reason is shown to the client. It is one of the caller's constants.
	Reason string
}

// Options configures a Handshaker.
type Options struct {
	// MaxHeadBytes bounds the request head, its last blank line included.
	// 0: 8 KiB.
	MaxHeadBytes int
	// MaxHeaders bounds the header fields. 0: 64.
	MaxHeaders int
	// Timeout bounds the time from the beginning that Do is told to the last
	// byte of the head. 0: 5 s.
	Timeout time.Duration
	// AllowOrigins are the Origins that may connect, each scheme://host[:port]
	// or null. Empty: only the host that the request is for.
	AllowOrigins []string
	// AnyOrigin lets every Origin connect. Cookies are not read then.
	AnyOrigin bool
	// CookieName is the cookie that may hold the token. It is read only when
	// AllowOrigins decides. Empty: no cookie is read. Default "token".
	CookieName string
	// Compression lets clients negotiate permessage-deflate.
	Compression bool
	// Admit is asked once a request is a valid upgrade, before the 101.
	// Nil, and a nil answer: go on. It must not block.
	Admit func(remote net.Addr) *Refusal
	// Registerer receives the metrics. Nil: they are not registered.
	Registerer prometheus.Registerer
}

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{
		MaxHeadBytes: 8 << 10,
		MaxHeaders:   64,
		Timeout:      5 * time.Second,
		CookieName:   "token",
	}
}

// withDefaults fills in what is zero. An empty CookieName has a meaning and
// stays.
func (o Options) withDefaults() Options {
	d := DefaultOptions()
	o.MaxHeadBytes = cmp.Or(o.MaxHeadBytes, d.MaxHeadBytes)
	o.MaxHeaders = cmp.Or(o.MaxHeaders, d.MaxHeaders)
	o.Timeout = cmp.Or(o.Timeout, d.Timeout)
	return o
}

// Validate reports every option that is out of bounds.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.MaxHeadBytes >= minHeadBytes && o.MaxHeadBytes <= maxHeadBytes,
		"max head bytes must be %d to %d, not %d", minHeadBytes, maxHeadBytes, o.MaxHeadBytes)
	check(o.MaxHeaders >= 1 && o.MaxHeaders <= maxHeaders,
		"max headers must be 1 to %d, not %d", maxHeaders, o.MaxHeaders)
	check(o.Timeout > 0, "timeout must be positive, not %s", o.Timeout)
	check(o.CookieName == "" || isToken([]byte(o.CookieName)), "cookie name %q is not a token", o.CookieName)
	for _, origin := range o.AllowOrigins {
		_, ok := canonicalOrigin(origin)
		check(ok, "allowed origin %q is not scheme://host[:port] in ASCII", origin)
	}
	return errors.Join(errs...)
}
