package control

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// defaultMaxPayload is Options.MaxPayload unless set.
const defaultMaxPayload = 1 << 20

// DefaultMaxConnections is far more than the services of one node need, each of
// which has a connection or a few.
const DefaultMaxConnections = 1024

// Options configures a Server.
type Options struct {
	// MaxConnections bounds the open connections. Over it the oldest that has
	// brought no call that Keys let in is closed; where there is none, the new one
	// is, before anything is sent. 0: no bound.
	MaxConnections int
	// MaxPayload bounds the payload of one message as the caller gives it, in
	// bytes of JSON. 0: 1 MiB.
	MaxPayload int
	// Keys open the API. Nil: the API is open to everybody who can connect,
	// which the caller keeps to loopback.
	Keys Keys
	// Logger receives internal errors and panics. Nil: nothing is logged.
	Logger *slog.Logger
	// Registerer receives the metrics. Nil: they are not registered.
	Registerer prometheus.Registerer
}

// Validate reports every option that is out of bounds.
func (o Options) Validate() error {
	var errs []error
	if o.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("max connections of the Control API must not be negative, not %d", o.MaxConnections))
	}
	if o.MaxPayload < 0 {
		errs = append(errs, fmt.Errorf("max payload must not be negative, not %d", o.MaxPayload))
	}
	// A list that came out empty by mistake must not open the API.
	if o.Keys != nil && len(o.Keys) == 0 {
		errs = append(errs, errors.New("the list of keys must not be empty"))
	}
	return errors.Join(errs...)
}

// withDefaults returns o with what was left out filled in.
func (o Options) withDefaults() Options {
	if o.MaxPayload == 0 {
		o.MaxPayload = defaultMaxPayload
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
