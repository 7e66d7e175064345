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
	// connectTimeout bounds how long that takes in all. Connect, which measures
	// it, has no bound of its own.
	connectTimeout = 2 * time.Minute
	// maxMessages bounds the messages of one phase of an open loop.
	maxMessages = 10_000_000
	// maxInFlight bounds the callers: each is a goroutine.
	maxInFlight = 100_000
	// maxPayload is more than any server takes, in bytes.
	maxPayload = 64 << 20
)

// TrafficOptions configures Fanout, Unicast and, as a part, Notify.
type TrafficOptions struct {
	// Clients is how many connections there are, at least 1.
	Clients int
	// PayloadBytes is the size of a message, in bytes of JSON; from MinPayload
	// to 64 MiB.
	PayloadBytes int
	// Rate is how many messages are due in a second. 0: as many as the server
	// takes with InFlight at a time.
	Rate float64
	// InFlight is how many messages or calls are under way at once, from 1 to
	// 100 000.
	// With a Rate it bounds the calls only: a message whose call has to wait
	// for another is measured from when it was due all the same.
	InFlight int
	// Warmup is how long messages flow before they count; 0 for not at all.
	Warmup time.Duration
	// Duration is how long they flow while they count; positive.
	Duration time.Duration
	// Stop, when closed, ends the scenario early: nothing more is sent, what is
	// under way is waited for, and the result tells of the part. It may be nil.
	Stop <-chan struct{}
	// Progress is told how far it is, by one goroutine; it may be nil.
	Progress func(Progress)
}

// Validate reports every option that is out of bounds.
func (o TrafficOptions) Validate() error { return o.validate(1) }

func (o TrafficOptions) validate(leastClients int) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Clients >= leastClients, "clients must be at least %d, not %d", leastClients, o.Clients)
	check(o.PayloadBytes >= MinPayload && o.PayloadBytes <= maxPayload,
		"payload must be from %d to %d bytes, not %d", MinPayload, maxPayload, o.PayloadBytes)
	check(o.Rate >= 0, "rate must not be negative, not %g", o.Rate)
	check(o.InFlight >= 1 && o.InFlight <= maxInFlight,
		"messages in flight must be from 1 to %d, not %d", maxInFlight, o.InFlight)
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
	// Stopped says that it ended before its time, by Stop.
	Stopped bool `json:"stopped,omitzero"`
}

// Fanout sends every message to all clients.
func Fanout(ctx context.Context, s Server, o TrafficOptions) (TrafficResult, error) {
	return deliveries(ctx, s, o, o.Clients, s.Broadcast)
}

// Unicast sends every message to one client, at random.
func Unicast(ctx context.Context, s Server, o TrafficOptions) (TrafficResult, error) {
	return deliveries(ctx, s, o, 1, func(ctx context.Context, m Message) error {
		return s.Unicast(ctx, rand.IntN(o.Clients), m) //nolint:gosec // Nothing is to be guessed here.
	})
}

// deliveries sends messages that have to arrive, each at so many receivers.
func deliveries(ctx context.Context, s Server, o TrafficOptions, receivers int, send sendFunc) (TrafficResult, error) {
	if err := o.Validate(); err != nil {
		return TrafficResult{}, err
	}
	f, cpu, err := traffic(ctx, s, o, receivers, send)
	if err != nil {
		return TrafficResult{}, err
	}
	count := f.tally.deliveries.Load()
	return TrafficResult{
		Clients: o.Clients, PayloadBytes: o.PayloadBytes, Rate: o.Rate, InFlight: o.InFlight,
		Seconds: f.took.Seconds(), Messages: f.messages, Deliveries: count,
		MessagesPerSecond:   float64(f.messages) / f.took.Seconds(),
		DeliveriesPerSecond: float64(count) / f.took.Seconds(),
		CPUMicros:           micros(cpu) / float64(count),
		Latency:             f.tally.latency.latency(),
		Call:                f.calls.latency(),
		Stopped:             f.stopped,
	}, nil
}

// traffic connects, warms up and measures; cpu is what the server spent
// meanwhile. A phase that it returns has at least one message.
func traffic(
	ctx context.Context, s Server, o TrafficOptions, receivers int, send sendFunc,
) (f *phase, cpu time.Duration, err error) {
	p, err := connectAll(ctx, s, o)
	if err != nil {
		return nil, 0, err
	}
	defer p.close()
	l := &load{pool: p, send: send, receivers: receivers, options: o, patience: patience}
	if o.Warmup > 0 {
		f, err := l.run(ctx, o.Warmup)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("warm-up: %w", err)
		case f.stopped:
			return nil, 0, ErrStopped
		}
	}
	before, err := s.Process().CPU()
	if err != nil {
		return nil, 0, err
	}
	if f, err = l.run(ctx, o.Duration); err != nil {
		return nil, 0, err
	}
	after, err := s.Process().CPU()
	if err != nil {
		return nil, 0, err
	}
	if f.messages == 0 {
		return nil, 0, ErrStopped
	}
	return f, after - before, nil
}

// connectAll makes the connections that messages will go to.
func connectAll(ctx context.Context, s Server, o TrafficOptions) (*pool, error) {
	clients, err := clientsOf(s, 0, o.Clients)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ctx, release := until(ctx, o.Stop)
	defer release()
	return openPool(ctx, clients, setupInFlight, o.Progress, newDriver)
}
