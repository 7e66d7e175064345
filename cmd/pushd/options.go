package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/edge"
)

const (
	// wrapping is what the JSON around a message of the largest allowed size
	// may take: channel, sender and ids, each character escaped.
	wrapping = 4 << 10
	// devKeyBytes is the size of the random key of --dev.
	devKeyBytes = 32
)

// edgeOptions returns the settings of the edge; logger and registry are added
// by whoever starts it.
func (c *config) edgeOptions() edge.Options {
	o := edge.DefaultOptions()
	l := c.Limits
	o.MaxMessageBytes = l.MaxMessageBytes
	o.MessageTimeout = l.MessageTimeout
	o.MaxChannelsPerConnection = l.MaxChannelsPerConnection
	o.MaxConnectionsPerUser = l.MaxConnectionsPerUser
	o.MaxConnections = l.MaxConnections
	o.AcceptRate = l.AcceptRate
	o.InboundRate = l.InboundRate
	o.InboundBurst = l.InboundBurst
	o.OutboundQueueBytes = l.OutboundQueueBytes
	o.OutboundQueueFrames = l.OutboundQueueFrames
	o.OutboundMaxAge = l.OutboundMaxAge
	o.CompressionThreshold = l.CompressionThreshold
	o.PingInterval = l.PingInterval
	o.IdleTimeout = l.IdleTimeout
	o.DrainWindow = l.DrainWindow
	o.Handshake.Timeout = l.HandshakeTimeout
	o.Handshake.AllowOrigins = c.Auth.AllowOrigins
	o.Handshake.AnyOrigin = c.Dev
	o.Handshake.CookieName = c.Auth.CookieName
	// validate has reported what can't be read.
	o.Lingers, _ = l.lingers()
	o.Policy = auth.Policy{PublicPublish: c.Auth.PublicPublish}
	return o
}

// lingers reads the --channel-linger settings.
func (c limitsConfig) lingers() ([]edge.Linger, error) {
	var all []edge.Linger
	for _, text := range c.Lingers {
		pattern, delay, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--channel-linger %q must be PATTERN=TIME", text)
		}
		channels, err := address.ParsePattern(pattern)
		if err != nil {
			return nil, fmt.Errorf("--channel-linger: %w", err)
		}
		d, err := time.ParseDuration(delay)
		if err != nil {
			return nil, fmt.Errorf("--channel-linger: %w", err)
		}
		all = append(all, edge.Linger{Channels: channels, Delay: d})
	}
	return all, nil
}

// clusterOptions returns the settings of the cluster.
func (c *config) clusterOptions() cluster.Options {
	o := cluster.DefaultOptions()
	o.NodeName = c.Cluster.NodeName
	o.Version = readBuild().Version
	o.NATSURL = c.Cluster.NATSURL.reveal()
	o.ListenAddr = c.Cluster.Addr
	o.Peers = c.Cluster.Peers
	o.Secret = c.Cluster.Secret.reveal()
	o.MaxPayload = c.Limits.MaxMessageBytes + wrapping
	o.History = c.historyOptions()
	return o
}

// controlOptions returns the settings of the Control API and reads its keys.
func (c *config) controlOptions() (control.Options, error) {
	o := control.Options{MaxPayload: c.Limits.MaxMessageBytes, MaxConnections: c.Limits.GRPCMaxConnections}
	if c.Auth.GRPCKeysFile == "" {
		return o, nil
	}
	file, err := os.Open(c.Auth.GRPCKeysFile)
	if err != nil {
		return o, fmt.Errorf("gRPC keys: %w", err)
	}
	keys, err := control.ParseKeys(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return o, fmt.Errorf("gRPC keys in %s: %w", c.Auth.GRPCKeysFile, err)
	}
	// No keys would mean an open API, which is not what the flag says.
	if len(keys) == 0 {
		return o, fmt.Errorf("gRPC keys: %s holds none", c.Auth.GRPCKeysFile)
	}
	o.Keys = keys
	return o, nil
}

// newVerifier makes the check of client tokens. devKey is one more secret;
// it may be nil.
func (c *config) newVerifier(devKey []byte) (*auth.Cache, error) {
	o := auth.Options{
		Audience:      c.Auth.Audience,
		Issuer:        c.Auth.Issuer,
		AllowNoExpiry: c.Auth.AllowNoExpiry,
	}
	for _, s := range c.Auth.Secrets {
		o.Secrets = append(o.Secrets, []byte(s.reveal()))
	}
	if devKey != nil {
		o.Secrets = append(o.Secrets, devKey)
	}
	for _, path := range c.Auth.PublicKeyFiles {
		pem, err := os.ReadFile(path) //nolint:gosec // The operator names the file.
		if err != nil {
			return nil, fmt.Errorf("JWT public key: %w", err)
		}
		o.PublicKeysPEM = append(o.PublicKeysPEM, pem)
	}
	v, err := auth.NewVerifier(o)
	if err != nil {
		return nil, fmt.Errorf("client tokens: %w", err)
	}
	return auth.NewCache(v, c.Auth.TokenCache), nil
}

// devKey returns the random key of --dev, which dies with the process; nil
// when a secret was given, or without --dev.
func (c *config) devKey() []byte {
	if !c.Dev || len(c.Auth.Secrets) > 0 {
		return nil
	}
	key := make([]byte, devKeyBytes)
	_, _ = rand.Read(key) // It never fails.
	return key
}
