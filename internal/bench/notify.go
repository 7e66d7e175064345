package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// NotifyOptions configures Notify.
type NotifyOptions struct {
	// Users is how many users messages go to, at least 1.
	Users int
	// TrafficOptions has the rest. Clients may be 0: that many of the users are
	// connected, so no more than Users.
	TrafficOptions
}

// Validate reports every option that is out of bounds.
func (o NotifyOptions) Validate() error {
	var errs []error
	if o.Users < 1 {
		errs = append(errs, fmt.Errorf("users must be at least 1, not %d", o.Users))
	}
	if o.Clients > o.Users {
		errs = append(errs, fmt.Errorf("clients must not be more than the %d users, not %d", o.Users, o.Clients))
	}
	return errors.Join(append(errs, o.validate(0))...)
}

// NotifyResult is what Notify measured.
type NotifyResult struct {
	Users        int     `json:"users"`
	Clients      int     `json:"clients"`
	PayloadBytes int     `json:"payload_bytes"`
	Rate         float64 `json:"rate,omitzero"`
	InFlight     int     `json:"in_flight"`
	// Seconds is the time from the first call until the last has returned.
	Seconds        float64 `json:"seconds"`
	Calls          int64   `json:"calls"`
	CallsPerSecond float64 `json:"calls_per_second"`
	// CPUMicros is what one call cost the server; 0 when its process is not
	// known.
	CPUMicros float64 `json:"cpu_micros,omitzero"`
	// Call is the time from when a call was due until it returned.
	Call Latency `json:"call_micros"`
	// Stopped says that it ended before its time, by Stop.
	Stopped bool `json:"stopped,omitzero"`
}

// Notify sends every message to one user, at random, and measures the calls.
// Whether a message arrives is not looked at: most users need not be connected.
func Notify(ctx context.Context, s Server, o NotifyOptions) (NotifyResult, error) {
	if err := o.Validate(); err != nil {
		return NotifyResult{}, err
	}
	f, cpu, err := traffic(ctx, s, o.TrafficOptions, 0, func(ctx context.Context, m Message) error {
		return s.Unicast(ctx, rand.IntN(o.Users), m) //nolint:gosec // Nothing is to be guessed here.
	})
	if err != nil {
		return NotifyResult{}, err
	}
	return NotifyResult{
		Users: o.Users, Clients: o.Clients, PayloadBytes: o.PayloadBytes, Rate: o.Rate, InFlight: o.InFlight,
		Seconds: f.took.Seconds(), Calls: f.messages,
		CallsPerSecond: float64(f.messages) / f.took.Seconds(),
		CPUMicros:      micros(cpu) / float64(f.messages),
		Call:           f.calls.latency(),
		Stopped:        f.stopped,
	}, nil
}
