package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/message"
)

const (
	// dialTimeout bounds one try at an external server.
	dialTimeout = 2 * time.Second
	// insideTimeout bounds one try at the embedded server, which is there: only a
	// busy machine makes it late, and a node that gave up would not start.
	insideTimeout = 20 * time.Second
	// pingInterval finds a server that is gone without a FIN.
	pingInterval = 2 * time.Second
	// inboundDepth holds a burst that comes while the reader has no CPU.
	inboundDepth = 1 << 16

	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = 5 * time.Second
)

// conn is the connection to NATS for what is live. All subscriptions end in one
// channel.
type conn struct {
	// Set once.
	nc      *nats.Conn
	in      chan *nats.Msg
	closed  chan struct{}
	metrics *metrics

	// Guarded by mu.
	mu sync.Mutex
	// slow holds subscriptions that have lost messages, with the number that
	// is counted already.
	slow map[*nats.Subscription]int
}

// connEvents are told of, one at a time, from a goroutine of the NATS client.
type connEvents struct {
	down, up func()
}

// dial connects to srv, or to o.NATSURL if srv is nil.
func dial(o Options, srv *embedded, ev connEvents, m *metrics, log *slog.Logger) (*conn, error) {
	c := &conn{
		in:      make(chan *nats.Msg, inboundDepth),
		closed:  make(chan struct{}),
		metrics: m,
		slow:    make(map[*nats.Subscription]int),
	}
	nc, err := connect(o, srv, "pushd "+o.NodeName,
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			ev.down()
			if err != nil {
				log.Warn("nats connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info("nats connection is back")
			m.reconnects.Inc()
			ev.up()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.failed(sub, err, log) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	)
	if err != nil {
		return nil, err
	}
	c.nc = nc
	return c, nil
}

// connect makes a connection of this node: to srv, or to o.NATSURL if srv is
// nil. handlers are told what happens to it.
func connect(o Options, srv *embedded, name string, handlers ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{
		nats.Name(name),
		// No hidden replay: while the connection is away nothing is kept.
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(o.PublishTimeout),
		nats.ReconnectOnFlusherError(),
	}, handlers...)
	where := o.NATSURL
	if srv != nil {
		opts = append(opts, nats.Timeout(insideTimeout))
		opts = append(opts, srv.clientOptions()...)
		where = ""
	}
	nc, err := nats.Connect(where, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", hostsOf(o.NATSURL), err)
	}
	return nc, nil
}

// payloadLimit returns how large a payload may be so that its envelope fits
// into what NATS takes, at most wanted. It is an error if hardly any does.
func (c *conn) payloadLimit(wanted int, log *slog.Logger) (int, error) {
	most := c.nc.MaxPayload()
	limit := min(int64(wanted), most-envelopeRoom)
	if limit <= 0 {
		return 0, fmt.Errorf("NATS takes messages of %d bytes only: raise its max_payload to %d", most, wanted+envelopeRoom)
	}
	if limit < int64(wanted) {
		log.Warn("nats takes smaller messages than pushd is set to: larger ones are refused",
			"nats_max_payload", most, "needed", wanted+envelopeRoom, "limit", limit)
	}
	return int(limit), nil
}

// reconnectDelay grows by half each time, with a quarter of jitter, so that
// the wait stays shorter than the outage was.
func reconnectDelay(attempts int) time.Duration {
	d := reconnectFirst
	for i := 1; i < attempts && d < reconnectMost; i++ {
		d += d / 2
	}
	d = min(d, reconnectMost)
	return d - d/8 + rand.N(d/4) //nolint:gosec // Jitter is no secret.
}

// hostsOf returns the URLs' hosts only: the rest may hold credentials.
func hostsOf(urls string) string {
	var hosts []string
	for raw := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(strings.TrimSpace(raw)); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	return strings.Join(hosts, ",")
}

// subscribe adds a subscription that ends in c.in. It only writes to a buffer.
func (c *conn) subscribe(subject string) (subscription, error) {
	sub, err := c.nc.ChanSubscribe(subject, c.in)
	if err != nil {
		return nil, fmt.Errorf("subscribe %q: %w", subject, err)
	}
	return natsSub{c, sub}, nil
}

// flush returns when the server has taken all that was written before.
func (c *conn) flush(timeout time.Duration) error {
	if !c.nc.IsConnected() {
		return message.ErrUnavailable
	}
	if err := c.nc.FlushTimeout(timeout); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// publish writes to the connection's buffer. It blocks only while the kernel
// takes nothing, and then for FlusherTimeout at most.
func (c *conn) publish(subject string, data []byte) error {
	switch err := c.nc.Publish(subject, data); {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrMaxPayload):
		return message.ErrTooLarge
	default:
		return errors.Join(message.ErrUnavailable, err)
	}
}

// close ends the connection and waits until its callbacks have ended.
func (c *conn) close() {
	c.nc.Close()
	<-c.closed
}

// failed takes what goes wrong outside a call.
func (c *conn) failed(sub *nats.Subscription, err error, log *slog.Logger) {
	if errors.Is(err, nats.ErrSlowConsumer) && sub != nil {
		c.mu.Lock()
		if _, ok := c.slow[sub]; !ok {
			c.slow[sub] = 0
		}
		c.mu.Unlock()
		return
	}
	log.Warn("nats client error", "error", err)
}

// countDropped counts what the NATS client dropped because c.in was full, and
// reports whether that was anything.
func (c *conn) countDropped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	dropped := false
	for sub := range c.slow {
		if c.countLocked(sub) {
			dropped = true
		} else {
			delete(c.slow, sub)
		}
	}
	return dropped
}

// countLocked counts what sub dropped since the last time, and reports whether
// that was anything.
func (c *conn) countLocked(sub *nats.Subscription) bool {
	total, err := sub.Dropped()
	counted := c.slow[sub]
	if err != nil || total <= counted {
		return false
	}
	c.metrics.dropped.WithLabelValues(dropInboundFull).Add(float64(total - counted))
	c.slow[sub] = total
	return true
}

// natsSub is one subscription.
type natsSub struct {
	c   *conn
	sub *nats.Subscription
}

// unsubscribe ends the subscription.
func (s natsSub) unsubscribe() error {
	s.c.mu.Lock()
	if _, slow := s.c.slow[s.sub]; slow {
		s.c.countLocked(s.sub)
		delete(s.c.slow, s.sub)
	}
	s.c.mu.Unlock()
	if err := s.sub.Unsubscribe(); err != nil {
		return fmt.Errorf("unsubscribe %q: %w", s.sub.Subject, err)
	}
	return nil
}
