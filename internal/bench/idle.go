package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// sampleEvery is how often the memory of the server is looked at.
	sampleEvery = 250 * time.Millisecond
	// steadySamples is for how many of them it must not change: for longer than a
	// server may wait before it gives memory back, which is 16 s.
	steadySamples = 72
	// steadyShare and steadyBytes are what counts as no change.
	steadyShare = 0.002
	steadyBytes = 64 << 10
)

// IdleOptions configures Idle.
type IdleOptions struct {
	// Low and High are the numbers of connections between which the memory is
	// compared: 1 <= Low < High.
	Low, High int
	// InFlight is how many connections are being made at once, at least 1.
	InFlight int
	// Settle is the longest time that the server's memory is given to come to
	// rest, each time; positive.
	Settle time.Duration
	// Progress is told how far it is, by one goroutine; it may be nil.
	Progress func(Progress)
}

// Validate reports every option that is out of bounds.
func (o IdleOptions) Validate() error {
	var errs []error
	if o.Low < 1 || o.High <= o.Low {
		errs = append(errs, fmt.Errorf("clients must be 1 <= low < high, not %d and %d", o.Low, o.High))
	}
	if o.InFlight < 1 {
		errs = append(errs, fmt.Errorf("connects in flight must be at least 1, not %d", o.InFlight))
	}
	if o.Settle <= 0 {
		errs = append(errs, fmt.Errorf("time to settle must be positive, not %s", o.Settle))
	}
	return errors.Join(errs...)
}

// IdleResult is what Idle measured.
type IdleResult struct {
	Low  int `json:"low_clients"`
	High int `json:"high_clients"`
	// RSS of the server with so many clients, in bytes.
	LowRSS  int64 `json:"low_rss"`
	HighRSS int64 `json:"high_rss"`
	// PerConnection is the difference that one connection makes, in bytes. What
	// the kernel holds for a socket is not in it.
	PerConnection float64 `json:"bytes_per_connection"`
	// Settled says that the memory had come to rest both times.
	Settled bool `json:"settled"`
}

// Idle weighs connections that are authenticated, joined and silent. Nothing
// is done to make the server tidy up first. It needs a server whose process is
// known.
func Idle(ctx context.Context, s Server, o IdleOptions) (IdleResult, error) {
	if err := o.Validate(); err != nil {
		return IdleResult{}, err
	}
	if !s.Process().known() {
		return IdleResult{}, errors.New("the memory of a server needs its process id")
	}
	r := IdleResult{Low: o.Low, High: o.High}
	low, lowSettled, err := weigh(ctx, s, o, 0, o.Low, &r.LowRSS)
	if err != nil {
		return r, err
	}
	defer low.close()
	high, highSettled, err := weigh(ctx, s, o, o.Low, o.High-o.Low, &r.HighRSS)
	if err != nil {
		return r, err
	}
	defer high.close()
	r.Settled = lowSettled && highSettled
	r.PerConnection = float64(r.HighRSS-r.LowRSS) / float64(o.High-o.Low)
	return r, nil
}

// weigh makes connections, which the caller closes, and takes the memory of
// the server with them.
func weigh(ctx context.Context, s Server, o IdleOptions, first, count int, rss *int64) (p *pool, settled bool, err error) {
	clients, err := clientsOf(s, first, count)
	if err != nil {
		return nil, false, err
	}
	if p, err = openPool(ctx, clients, o.InFlight, o.Progress, newDriver); err != nil {
		return nil, false, err
	}
	if *rss, settled, err = settle(ctx, s.Process(), p, o.Settle); err != nil {
		p.close()
		return nil, false, err
	}
	return p, settled, nil
}

// settle waits until the memory of a process has not changed for a while, at
// most for limit, and returns it.
func settle(ctx context.Context, process Process, p *pool, limit time.Duration) (rss int64, settled bool, err error) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	steady := 0
	var reference int64
	for {
		if rss, err = process.RSS(); err != nil {
			return 0, false, err
		}
		if changed(reference, rss) {
			reference, steady = rss, 0
		}
		if steady == steadySamples {
			return rss, true, nil
		}
		steady++
		select {
		case <-ticker.C:
		case <-deadline.C:
			return rss, false, nil
		case <-p.failed:
			return 0, false, p.cause
		case <-ctx.Done():
			return 0, false, ended(ctx)
		}
	}
}

// changed reports whether memory differs by more than noise.
func changed(was, is int64) bool {
	d := is - was
	return max(d, -d) > max(steadyBytes, int64(steadyShare*float64(was)))
}
