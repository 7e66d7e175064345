package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ConnectOptions configures Connect.
type ConnectOptions struct {
	// Clients is how many connections are made, at least 1.
	Clients int
	// InFlight is how many are being made at once, at least 1.
	InFlight int
	// Progress is told how far it is, by one goroutine; it may be nil.
	Progress func(Progress)
}

// Validate reports every option that is out of bounds.
func (o ConnectOptions) Validate() error {
	var errs []error
	if o.Clients < 1 {
		errs = append(errs, fmt.Errorf("clients must be at least 1, not %d", o.Clients))
	}
	if o.InFlight < 1 {
		errs = append(errs, fmt.Errorf("connects in flight must be at least 1, not %d", o.InFlight))
	}
	return errors.Join(errs...)
}

// ConnectResult is what Connect measured.
type ConnectResult struct {
	Clients  int     `json:"clients"`
	InFlight int     `json:"in_flight"`
	Seconds  float64 `json:"seconds"`
	// PerSecond counts connections that were upgraded, authenticated, joined
	// and told so.
	PerSecond float64 `json:"per_second"`
	// CPUMicros is what one of them cost the server; 0 when its process is not
	// known.
	CPUMicros float64 `json:"cpu_micros,omitzero"`
	// Latency is the time from the connect to the answer to the join.
	Latency Latency `json:"latency_micros"`
}

// Connect makes connections as fast as they come and closes them.
func Connect(ctx context.Context, s Server, o ConnectOptions) (ConnectResult, error) {
	if err := o.Validate(); err != nil {
		return ConnectResult{}, err
	}
	clients, err := clientsOf(s, 0, o.Clients)
	if err != nil {
		return ConnectResult{}, err
	}
	before, err := s.Process().CPU()
	if err != nil {
		return ConnectResult{}, err
	}
	p, err := openPool(ctx, clients, o.InFlight, o.Progress, newDriver)
	if err != nil {
		return ConnectResult{}, err
	}
	defer p.close()
	after, err := s.Process().CPU()
	if err != nil {
		return ConnectResult{}, err
	}
	return ConnectResult{
		Clients: o.Clients, InFlight: o.InFlight,
		Seconds:   p.readyAfter.Seconds(),
		PerSecond: float64(o.Clients) / p.readyAfter.Seconds(),
		CPUMicros: micros(after-before) / float64(o.Clients),
		Latency:   p.connects.latency(),
	}, nil
}

// connectTimeout bounds the making of connections that are to be used, and the
// time without which a machine is too slow to measure anything.
const connectTimeout = 2 * time.Minute
