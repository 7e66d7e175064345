package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/edge/poll"
)

// Options configures a Hub and its Server.
type Options struct {
	// Loops is how many loops share the connections: 1 to 64. Default: half
	// of GOMAXPROCS, but at least 1 and at most 64.
	Loops int
	// MaxMessageBytes bounds one message from a client. Default 1 MiB.
	MaxMessageBytes int
	// MessageTimeout bounds the time from the first byte of a message to its
	// last, at least 1 s. Default 30 s.
	MessageTimeout time.Duration
	// MaxChannelsPerConnection bounds memberships. Default 128.
	MaxChannelsPerConnection int
	// MaxConnectionsPerUser bounds the connections of one user on this node.
	// The newest is refused. Default 16.
	MaxConnectionsPerUser int
	// MaxConnections bounds the connections of this node. 0: unlimited.
	MaxConnections int
	// AcceptRate bounds the upgrades of a second; as many may come at once. 0:
	// unlimited.
	AcceptRate float64
	// Lingers let messages of some channels wait a moment for others, to go out
	// in one write. The first whose pattern matches holds.
	Lingers []Linger
	// InboundRate is how many messages, pings and pongs a second one connection
	// may send for long. Default 50.
	InboundRate float64
	// InboundBurst is how many it may send at once. Default 100.
	InboundBurst int
	// OutboundQueueBytes bounds the memory of what waits for one connection: a
	// compressed message counts with its plain form. One message of any size is
	// always admitted to an empty queue. Default 1 MiB.
	OutboundQueueBytes int
	// OutboundQueueFrames bounds the messages that wait for one connection.
	// Default 4096.
	OutboundQueueFrames int
	// OutboundMaxAge bounds the time for which a connection may be behind
	// without a break. Default 30 s.
	OutboundMaxAge time.Duration
	// CompressionThreshold is the size from which messages are compressed for
	// clients that have negotiated permessage-deflate, in bytes. 0: it is not
	// negotiated. Default 512.
	CompressionThreshold int
	// PingInterval is the time between server pings, give or take a twentieth.
	// Default 25 s.
	PingInterval time.Duration
	// IdleTimeout closes a connection that sent nothing, not even a pong, for
	// this long. Default 2 min.
	IdleTimeout time.Duration
	// DrainWindow is the time over which Drain spreads the closes. Default 5 s.
	DrainWindow time.Duration
	// Handshake configures the upgrade.
	Handshake handshake.Options
	// TLS makes every connection begin with a TLS handshake, which takes its time
	// from that of the opening handshake. Nil: plain TCP.
	TLS *tls.Config
	// NewDriver makes the driver of one loop's sockets. Nil: poll.New.
	NewDriver func(lock sync.Locker) (poll.Driver, error)
	// Policy decides who may join and publish.
	Policy auth.Policy
	// Logger receives what operators should know. Nil: nothing is logged.
	Logger *slog.Logger
	// Registerer receives the metrics. Nil: they are not registered.
	Registerer prometheus.Registerer
}

// maxLinger bounds Linger.Delay.
const maxLinger = 5 * time.Millisecond

// Linger trades latency for CPU on busy channels.
type Linger struct {
	Channels address.Pattern
	// Delay is how long the first message of a batch waits: up to 5 ms.
	Delay time.Duration
}

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{
		Loops:                    min(maxLoops, max(1, runtime.GOMAXPROCS(0)/2)),
		MaxMessageBytes:          1 << 20,
		MessageTimeout:           30 * time.Second,
		MaxChannelsPerConnection: 128,
		MaxConnectionsPerUser:    16,
		InboundRate:              50,
		InboundBurst:             100,
		OutboundQueueBytes:       1 << 20,
		OutboundQueueFrames:      4096,
		OutboundMaxAge:           30 * time.Second,
		CompressionThreshold:     512,
		PingInterval:             25 * time.Second,
		IdleTimeout:              2 * time.Minute,
		DrainWindow:              5 * time.Second,
		Handshake:                handshake.DefaultOptions(),
	}
}

// Validate reports every option that is out of bounds.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Loops >= 1 && o.Loops <= maxLoops, "loops must be 1 to %d, not %d", maxLoops, o.Loops)
	check(o.MaxMessageBytes >= 1024, "max message bytes must be at least 1024, not %d", o.MaxMessageBytes)
	check(o.MessageTimeout >= time.Second, "message timeout must be at least 1s, not %s", o.MessageTimeout)
	check(o.MaxChannelsPerConnection >= 1, "max channels per connection must be at least 1, not %d", o.MaxChannelsPerConnection)
	check(o.MaxConnectionsPerUser >= 1, "max connections per user must be at least 1, not %d", o.MaxConnectionsPerUser)
	check(o.MaxConnections >= 0, "max connections must not be negative, not %d", o.MaxConnections)
	check(o.AcceptRate >= 0, "accept rate must not be negative, not %g", o.AcceptRate)
	for _, l := range o.Lingers {
		check(l.Delay > 0 && l.Delay <= maxLinger, "linger of %s must be more than 0 and at most %s, not %s", l.Channels, maxLinger, l.Delay)
	}
	check(o.InboundRate > 0, "inbound rate must be positive, not %g", o.InboundRate)
	check(o.InboundBurst >= 1, "inbound burst must be at least 1, not %d", o.InboundBurst)
	check(o.OutboundQueueBytes >= 1024, "outbound queue bytes must be at least 1024, not %d", o.OutboundQueueBytes)
	check(o.OutboundQueueFrames >= 1, "outbound queue frames must be at least 1, not %d", o.OutboundQueueFrames)
	check(o.OutboundMaxAge >= time.Second, "outbound max age must be at least 1s, not %s", o.OutboundMaxAge)
	check(o.CompressionThreshold >= 0, "compression threshold must not be negative, not %d", o.CompressionThreshold)
	check(o.PingInterval >= time.Second, "ping interval must be at least 1s, not %s", o.PingInterval)
	check(o.IdleTimeout > o.PingInterval, "idle timeout %s must be longer than the ping interval %s", o.IdleTimeout, o.PingInterval)
	check(o.DrainWindow >= 0, "drain window must not be negative, not %s", o.DrainWindow)
	return errors.Join(errs...)
}
