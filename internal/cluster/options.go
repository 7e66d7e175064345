package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// envelopeRoom is what an envelope may add to a payload.
const envelopeRoom = 64 << 10

// Options says how a node takes part in the cluster. With neither NATSURL nor
// ListenAddr the node is alone, with a NATS server that listens nowhere.
type Options struct {
	// NodeName names this node: 1 to 64 of [A-Za-z0-9_-], unique in the
	// cluster, the same over restarts.
	NodeName string
	// Version is shown in stats.
	Version string
	// NATSURL is an external NATS: nats:// or tls:// URLs, comma-separated.
	// Off loopback each needs credentials. Empty: an embedded server.
	NATSURL string
	// ListenAddr is HOST:PORT for other embedded servers. Empty: none.
	ListenAddr string
	// Peers are the nats:// URLs of other nodes; this node may be among them.
	Peers []string
	// Secret is what embedded servers prove to each other. It may be empty
	// only while all addresses are loopback.
	Secret string
	// History is what is kept; nil: nothing.
	History *HistoryOptions
	// MaxPayload bounds Message.Payload in bytes. Default 1 MiB.
	MaxPayload int
	// Lanes is how many goroutines deliver. Default GOMAXPROCS.
	Lanes int
	// LaneDepth bounds the messages that wait in a lane. Default 8192.
	LaneDepth int
	// InterestLinger is how long interest outlives its last member. Default
	// 10 s.
	InterestLinger time.Duration
	// Settle is how long other servers get to learn of new interest before it
	// counts as live, where no node could confirm that they did. A lone embedded
	// node doesn't wait. Default 5 ms.
	Settle time.Duration
	// ConfirmTimeout bounds the wait for nodes that should confirm new interest.
	// Default 250 ms.
	ConfirmTimeout time.Duration
	// PublishTimeout bounds Publish. Default 2 s.
	PublishTimeout time.Duration
	// HeartbeatInterval must be the same on all nodes. Default 1 s.
	HeartbeatInterval time.Duration
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil: metrics are counted but not registered.
	Registerer prometheus.Registerer
}

// DefaultOptions returns the defaults; NodeName is still to be set.
func DefaultOptions() Options {
	return Options{
		MaxPayload:        1 << 20,
		Lanes:             runtime.GOMAXPROCS(0),
		LaneDepth:         8192,
		InterestLinger:    10 * time.Second,
		Settle:            5 * time.Millisecond,
		ConfirmTimeout:    250 * time.Millisecond,
		PublishTimeout:    2 * time.Second,
		HeartbeatInterval: time.Second,
	}
}

// Validate checks o. No secret is in the error's text.
func (o Options) Validate() error {
	if !validNodeName(o.NodeName) {
		return errors.New("node name must be 1 to 64 characters of A-Z a-z 0-9 _ -")
	}
	if o.MaxPayload < 1 || o.MaxPayload > math.MaxInt32-envelopeRoom {
		return fmt.Errorf("max payload %d is out of range", o.MaxPayload)
	}
	if o.Lanes < 1 || o.LaneDepth < 1 {
		return errors.New("lanes and lane depth must be positive")
	}
	if o.InterestLinger < 0 || o.Settle < 0 {
		return errors.New("interest linger and settle must not be negative")
	}
	if o.ConfirmTimeout <= 0 || o.PublishTimeout <= 0 || o.HeartbeatInterval <= 0 {
		return errors.New("confirm timeout, publish timeout and heartbeat interval must be positive")
	}
	if err := o.validateHistory(); err != nil {
		return err
	}
	if o.NATSURL != "" {
		return o.validateExternal()
	}
	return o.validateMesh()
}

func (o Options) validateExternal() error {
	if o.ListenAddr != "" || len(o.Peers) > 0 {
		return errors.New("an external NATS excludes a cluster address and peers")
	}
	for raw := range strings.SplitSeq(o.NATSURL, ",") {
		u, err := parseNATSURL(raw)
		if err != nil {
			return fmt.Errorf("NATS URL: %w", err)
		}
		if u.User == nil && !IsLoopback(u.Hostname()) {
			return fmt.Errorf("NATS URL of %s needs credentials: it is not loopback", u.Host)
		}
	}
	return nil
}

func (o Options) validateMesh() error {
	if o.ListenAddr == "" {
		if len(o.Peers) > 0 {
			return errors.New("peers need a cluster address")
		}
		return nil
	}
	host, _, err := splitListenAddr(o.ListenAddr)
	if err != nil {
		return err
	}
	local := IsLoopback(host)
	for _, raw := range o.Peers {
		u, err := parseNATSURL(raw)
		if err != nil {
			return fmt.Errorf("peer: %w", err)
		}
		if u.User != nil {
			return fmt.Errorf("peer %s must not carry credentials: the secret is for that", u.Host)
		}
		local = local && IsLoopback(u.Hostname())
	}
	if o.Secret == "" && !local {
		return errors.New("a cluster that is not on loopback needs a secret")
	}
	return nil
}

func (o Options) mesh() bool { return o.NATSURL == "" && o.ListenAddr != "" }

func (o Options) alone() bool { return o.NATSURL == "" && o.ListenAddr == "" }

// errBadURL replaces the errors of net/url, which quote the URL and with it
// its credentials.
var errBadURL = errors.New("must be nats://HOST:PORT or tls://HOST:PORT")

func parseNATSURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Hostname() == "" {
		return nil, errBadURL
	}
	if u.Scheme != "nats" && u.Scheme != "tls" {
		return nil, errBadURL
	}
	return u, nil
}

func splitListenAddr(addr string) (host string, port int, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("cluster address %q: %w", addr, err)
	}
	host, _, err = net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("cluster address %q: %w", addr, err)
	}
	return host, tcp.Port, nil
}

// IsLoopback reports whether host can only be this machine. No name is resolved:
// what a name means may change.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
