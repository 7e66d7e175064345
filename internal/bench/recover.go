package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const (
	// fillInFlight is how many channels are filled at once.
	fillInFlight = 64
	// maxMissed is what every server replays to one client.
	maxMissed = 1000
)

// Position is a place in the history of a channel, as a server says it.
type Position struct{ Epoch, Offset string }

// HistoryServer is a Server whose channels have a history.
type HistoryServer interface {
	Server
	// Keep sends a message to the c-th channel and returns its position.
	Keep(ctx context.Context, c int, m Message) (Position, error)
	// Follower says how the i-th client connects and joins the c-th channel; unless
	// from is zero, with all that came after it.
	Follower(i, c int, from Position) (Client, error)
	// Reads returns how often the server has asked for what is stored.
	Reads(ctx context.Context) (int64, error)
}

// RecoverOptions configures Recover.
type RecoverOptions struct {
	// Clients is how many come back, at least 1.
	Clients int
	// Channels is how many channels they are spread over, from 1 to Clients.
	Channels int
	// Missed is how many messages each has missed, from 1 to 1000.
	Missed int
	// PayloadBytes is the size of a message, in bytes of JSON; from MinPayload
	// to 64 MiB.
	PayloadBytes int
	// InFlight is how many are coming back at once, at least 1.
	InFlight int
	// Watched says that each channel has a member all the time, so that the server
	// knows the last messages without reading them.
	Watched bool
	// Progress is told how far it is, by one goroutine; it may be nil.
	Progress func(Progress)
}

// Validate reports every option that is out of bounds.
func (o RecoverOptions) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Clients >= 1, "clients must be at least 1, not %d", o.Clients)
	check(o.Channels >= 1 && o.Channels <= o.Clients, "channels must be from 1 to the %d clients, not %d", o.Clients, o.Channels)
	check(o.Missed >= 1 && o.Missed <= maxMissed, "missed messages must be from 1 to %d, not %d", maxMissed, o.Missed)
	check(o.PayloadBytes >= MinPayload && o.PayloadBytes <= maxPayload,
		"payload must be from %d to %d bytes, not %d", MinPayload, maxPayload, o.PayloadBytes)
	check(o.InFlight >= 1, "connects in flight must be at least 1, not %d", o.InFlight)
	return errors.Join(errs...)
}

// RecoverResult is what Recover measured.
type RecoverResult struct {
	Clients      int  `json:"clients"`
	Channels     int  `json:"channels"`
	Missed       int  `json:"missed"`
	PayloadBytes int  `json:"payload_bytes"`
	InFlight     int  `json:"in_flight"`
	Watched      bool `json:"watched,omitzero"`
	// Seconds is the time from the first connect until the last client has all
	// that it had missed.
	Seconds float64 `json:"seconds"`
	// CPUSeconds is what that cost the server, CPUMicros for one client; 0 when
	// its process is not known.
	CPUSeconds float64 `json:"cpu_seconds,omitzero"`
	CPUMicros  float64 `json:"cpu_micros,omitzero"`
	// Latency is the time from the connect until a client had everything, Recovery
	// that from its request to join.
	Latency  Latency `json:"latency_micros"`
	Recovery Latency `json:"recovery_micros"`
	// Reads is how often the server asked for what is stored meanwhile.
	Reads           int64   `json:"reads"`
	ReadsPerChannel float64 `json:"reads_per_channel"`
}

// Recover stores messages and then connects clients that missed them. It fails
// unless each gets all, in order and once.
func Recover(ctx context.Context, s HistoryServer, o RecoverOptions) (RecoverResult, error) {
	if err := o.Validate(); err != nil {
		return RecoverResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if o.Watched {
		watchers := make([]Position, o.Channels)
		clients, err := followers(s, o.Clients, o.Channels, watchers, 0)
		if err != nil {
			return RecoverResult{}, err
		}
		p, err := openPool(ctx, clients, setupInFlight, o.Progress, newDriver)
		if err != nil {
			return RecoverResult{}, err
		}
		defer p.close()
	}
	from, err := fill(ctx, s, o)
	if err != nil {
		return RecoverResult{}, fmt.Errorf("fill the channels: %w", err)
	}
	clients, err := followers(s, 0, o.Clients, from, o.Missed)
	if err != nil {
		return RecoverResult{}, err
	}
	return comeBack(ctx, s, o, clients)
}

// comeBack connects the clients and measures.
func comeBack(ctx context.Context, s HistoryServer, o RecoverOptions, clients []Client) (RecoverResult, error) {
	readsBefore, err := s.Reads(ctx)
	if err != nil {
		return RecoverResult{}, err
	}
	before, err := s.Process().CPU()
	if err != nil {
		return RecoverResult{}, err
	}
	p, err := openPool(ctx, clients, o.InFlight, o.Progress, newDriver)
	if err != nil {
		return RecoverResult{}, err
	}
	defer p.close()
	after, err := s.Process().CPU()
	if err != nil {
		return RecoverResult{}, err
	}
	readsAfter, err := s.Reads(ctx)
	if err != nil {
		return RecoverResult{}, err
	}
	reads := readsAfter - readsBefore
	return RecoverResult{
		Clients: o.Clients, Channels: o.Channels, Missed: o.Missed, PayloadBytes: o.PayloadBytes, InFlight: o.InFlight, Watched: o.Watched,
		Seconds: p.readyAfter.Seconds(), CPUSeconds: (after - before).Seconds(), CPUMicros: micros(after-before) / float64(o.Clients),
		Latency: p.connects.latency(), Recovery: p.recoveries.latency(),
		Reads: reads, ReadsPerChannel: float64(reads) / float64(o.Channels),
	}, nil
}

// followers makes clients from first on, in turn for each channel.
func followers(s HistoryServer, first, count int, from []Position, missed int) ([]Client, error) {
	if err := checkFiles(count); err != nil {
		return nil, err
	}
	clients := make([]Client, count)
	for i := range clients {
		c, err := s.Follower(first+i, i%len(from), from[i%len(from)])
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", first+i, err)
		}
		c.Missed = missed
		clients[i] = c
	}
	return clients, nil
}

// fill stores one message on each channel, whose positions it returns, and then
// those that will be missed.
func fill(ctx context.Context, s HistoryServer, o RecoverOptions) ([]Position, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	from := make([]Position, o.Channels)
	next := make(chan int, o.Channels)
	for c := range from {
		next <- c
	}
	close(next)
	var fillers sync.WaitGroup
	for range min(fillInFlight, o.Channels) {
		fillers.Go(func() {
			for c := range next {
				for seq := range o.Missed + 1 {
					at, err := s.Keep(ctx, c, Message{Seq: uint64(seq), Due: time.Duration(c), Bytes: o.PayloadBytes})
					if err != nil {
						cancel(err)
						return
					}
					if seq == 0 {
						from[c] = at
					}
				}
			}
		})
	}
	fillers.Wait()
	return from, ended(ctx)
}

// v1 asks for the dialect that knows positions.
const v1 = "Sec-WebSocket-Protocol: pushd.v1.json\r\n"

// Keep implements HistoryServer by SendChannel.
func (p *Pushd) Keep(ctx context.Context, c int, m Message) (Position, error) {
	a, err := p.sendChannel(ctx, p.kept(c), m)
	if err != nil {
		return Position{}, err
	}
	if a.GetOffset() == "" {
		return Position{}, fmt.Errorf("the server has no history for channel %s", p.kept(c))
	}
	return Position{Epoch: a.GetEpoch(), Offset: a.GetOffset()}, nil
}

// Follower implements HistoryServer.
func (p *Pushd) Follower(i, c int, from Position) (Client, error) {
	ready := p.ready
	if from != (Position{}) {
		ready = []byte(`"recovered":true`)
	}
	return p.client(i, v1, joining(p.kept(c), from), ready)
}

// Reads implements HistoryServer.
func (p *Pushd) Reads(ctx context.Context) (int64, error) {
	if p.target.Reads == nil {
		return 0, nil
	}
	return p.target.Reads(ctx)
}

// kept names the c-th channel with a history.
func (p *Pushd) kept(c int) string { return p.channel + "-" + strconv.Itoa(c) }
