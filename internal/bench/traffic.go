package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// setupInFlight is how many connections are made at once where making them
	// is not what is measured.
	setupInFlight = 64
	// maxMessages bounds the messages of one phase of an open loop.
	maxMessages = 10_000_000
)

// TrafficOptions configures Fanout and Unicast.
type TrafficOptions struct {
	// Clients is how many connections there are, at least 1.
	Clients int
	// PayloadBytes is the size of a message, in bytes of JSON; at least
	// MinPayload.
	PayloadBytes int
	// Rate is how many messages are due in a second. 0: as many as the server
	// takes with InFlight at a time.
	Rate float64
	// InFlight is how many messages or calls are under way at once, at least 1.
	// With a Rate it bounds the calls only: a message whose call has to wait
	// for another is measured from when it was due all the same.
	InFlight int
	// Warmup is how long messages flow before they count; 0 for not at all.
	Warmup time.Duration
	// Duration is how long they flow while they count; positive.
	Duration time.Duration
	// Progress is told how far it is, by one goroutine; it may be nil.
	Progress func(Progress)
}

// Validate reports every option that is out of bounds.
func (o TrafficOptions) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Clients >= 1, "clients must be at least 1, not %d", o.Clients)
	check(o.PayloadBytes >= MinPayload, "payload must be at least %d bytes, not %d", MinPayload, o.PayloadBytes)
	check(o.Rate >= 0, "rate must not be negative, not %g", o.Rate)
	check(o.InFlight >= 1, "messages in flight must be at least 1, not %d", o.InFlight)
	check(o.Warmup >= 0, "warm-up must not be negative, not %s", o.Warmup)
	check(o.Duration > 0, "duration must be positive, not %s", o.Duration)
	longest := max(o.Duration, o.Warmup).Seconds()
	check(o.Rate*longest <= maxMessages, "rate and duration must not make more than %d messages", maxMessages)
	return errors.Join(errs...)
}

// TrafficResult is what Fanout or Unicast measured.
type TrafficResult struct {
	Clients      int     `json:"clients"`
	PayloadBytes int     `json:"payload_bytes"`
	Rate         float64 `json:"rate,omitzero"`
	InFlight     int     `json:"in_flight"`
	// Seconds is the time from the first message until the last has reached
	// its last receiver.
	Seconds    float64 `json:"seconds"`
	Messages   int64   `json:"messages"`
	Deliveries int64   `json:"deliveries"`
	// MessagesPerSecond and DeliveriesPerSecond are over Seconds.
	MessagesPerSecond   float64 `json:"messages_per_second"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	// CPUMicros is what one delivery cost the server; 0 when its process is
	// not known.
	CPUMicros float64 `json:"cpu_micros,omitzero"`
	// Latency is the time from when a message was due until it was received,
	// over all receivers.
	Latency Latency `json:"latency_micros"`
	// Call is the time from when a message was due until the call that sent it
	// returned.
	Call Latency `json:"call_micros"`
}

// Fanout sends every message to all clients.
func Fanout(ctx context.Context, s Server, o TrafficOptions) (TrafficResult, error) {
	return traffic(ctx, s, o, o.Clients, s.Broadcast)
}

// Unicast sends every message to one client, at random.
func Unicast(ctx context.Context, s Server, o TrafficOptions) (TrafficResult, error) {
	return traffic(ctx, s, o, 1, func(ctx context.Context, m Message) error {
		return s.Unicast(ctx, rand.IntN(o.Clients), m) //nolint:gosec // Nothing is to be guessed here.
	})
}

func traffic(ctx context.Context, s Server, o TrafficOptions, receivers int, send sendFunc) (TrafficResult, error) {
	if err := o.Validate(); err != nil {
		return TrafficResult{}, err
	}
	p, err := connectAll(ctx, s, o)
	if err != nil {
		return TrafficResult{}, err
	}
	defer p.close()
	l := &load{pool: p, send: send, receivers: receivers, options: o, patience: patience}
	if o.Warmup > 0 {
		if _, err := l.run(ctx, o.Warmup); err != nil {
			return TrafficResult{}, fmt.Errorf("warm-up: %w", err)
		}
	}
	before, err := s.Process().CPU()
	if err != nil {
		return TrafficResult{}, err
	}
	f, err := l.run(ctx, o.Duration)
	if err != nil {
		return TrafficResult{}, err
	}
	after, err := s.Process().CPU()
	if err != nil {
		return TrafficResult{}, err
	}
	deliveries := f.tally.deliveries.Load()
	return TrafficResult{
		Clients: o.Clients, PayloadBytes: o.PayloadBytes, Rate: o.Rate, InFlight: o.InFlight,
		Seconds: f.took.Seconds(), Messages: f.messages, Deliveries: deliveries,
		MessagesPerSecond:   float64(f.messages) / f.took.Seconds(),
		DeliveriesPerSecond: float64(deliveries) / f.took.Seconds(),
		CPUMicros:           micros(after-before) / float64(deliveries),
		Latency:             f.tally.latency.latency(),
		Call:                f.calls.latency(),
	}, nil
}

// connectAll makes the connections that messages will go to.
func connectAll(ctx context.Context, s Server, o TrafficOptions) (*pool, error) {
	clients, err := clientsOf(s, 0, o.Clients)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return openPool(ctx, clients, setupInFlight, o.Progress, newDriver)
}
