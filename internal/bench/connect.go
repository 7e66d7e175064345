package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxRamp bounds the time from the first connection of an open loop to the last.
const maxRamp = 24 * time.Hour

// ConnectOptions configures Connect.
type ConnectOptions struct {
	// Clients is how many connections are made, at least 1.
	Clients int
	// Rate is how many are due in a second; all of them within 24 h. 0: the next
	// is due when one is ready.
	Rate float64
	// InFlight is how many are being made at once, at least 1. With a Rate, one
	// that has to wait for another is measured from when it was due all the same.
	InFlight int
	// Hold is for how long they are kept open after the last; 0 for not at all.
	// One that ends meanwhile fails the scenario.
	Hold time.Duration
	// Stop, when closed, ends the scenario early: the result tells of the
	// connections that were made. It may be nil.
	Stop <-chan struct{}
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
	switch {
	case !(o.Rate >= 0): // NaN too
		errs = append(errs, fmt.Errorf("rate must not be negative, not %g", o.Rate))
	case o.Rate > 0 && float64(o.Clients)/o.Rate > maxRamp.Seconds():
		errs = append(errs, fmt.Errorf("rate and clients must not take more than %s", maxRamp))
	}
	if o.Hold < 0 {
		errs = append(errs, fmt.Errorf("time to hold must not be negative, not %s", o.Hold))
	}
	return errors.Join(errs...)
}

// ConnectResult is what Connect measured.
type ConnectResult struct {
	// Clients is how many were made.
	Clients  int     `json:"clients"`
	Rate     float64 `json:"rate,omitzero"`
	InFlight int     `json:"in_flight"`
	Seconds  float64 `json:"seconds"`
	// PerSecond counts connections that were upgraded, authenticated, joined
	// and told so.
	PerSecond float64 `json:"per_second"`
	// CPUMicros is what one of them cost the server; 0 when its process is not
	// known.
	CPUMicros float64 `json:"cpu_micros,omitzero"`
	// Latency is the time from when a connect was due to the answer to the join.
	Latency Latency `json:"latency_micros"`
	// HeldSeconds is for how long they were kept open.
	HeldSeconds float64 `json:"held_seconds,omitzero"`
	// Stopped says that it ended before its time, by Stop.
	Stopped bool `json:"stopped,omitzero"`
}

// Connect makes connections, as fast as they come or at a rate, holds them, and
// closes them.
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
	ctx, release := until(ctx, o.Stop)
	defer release()
	p, err := startPool(clients, o.InFlight, o.Rate, newDriver)
	if err != nil {
		return ConnectResult{}, err
	}
	defer p.close()
	err = p.await(ctx, o.Progress)
	made, took := p.open.Load(), p.now()
	stopped := errors.Is(err, ErrStopped)
	switch {
	case err == nil:
		took = p.readyAfter
	case !stopped || made == 0:
		return ConnectResult{}, err
	}
	after, err := s.Process().CPU()
	if err != nil {
		return ConnectResult{}, err
	}
	r := ConnectResult{
		Clients: int(made), Rate: o.Rate, InFlight: o.InFlight,
		Seconds:   took.Seconds(),
		PerSecond: float64(made) / took.Seconds(),
		CPUMicros: micros(after-before) / float64(made),
		Latency:   p.connects.latency(),
		Stopped:   stopped,
	}
	if o.Hold > 0 && !stopped {
		err = r.hold(ctx, p, o)
	}
	return r, err
}

// hold keeps the connections open.
func (r *ConnectResult) hold(ctx context.Context, p *pool, o ConnectOptions) error {
	began := p.now()
	stop := watch(o.Progress, func() Progress {
		return Progress{What: "connections held", Done: p.open.Load(), Elapsed: p.now() - began, Level: true}
	})
	defer stop()
	timer := time.NewTimer(o.Hold)
	defer timer.Stop()
	defer func() { r.HeldSeconds = (p.now() - began).Seconds() }()
	select {
	case <-timer.C:
		return nil
	case <-p.failed:
		return fmt.Errorf("hold %d clients: %w", p.total, p.cause)
	case <-ctx.Done():
		if err := ended(ctx); !errors.Is(err, ErrStopped) {
			return err
		}
		r.Stopped = true
		return nil
	}
}
