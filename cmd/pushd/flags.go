package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/edge"
)

// addTo declares every flag of serve, each with its environment variable.
func (c *config) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	c.addAddressFlags(fs)
	c.Cluster.addTo(fs)
	c.addHistoryFlags(fs)
	c.Auth.addTo(fs)
	c.Limits.addTo(fs)
	fs.StringVar(&c.Log.Format, "log-format", "text", "log format on stderr: text or json")
	fs.StringVar(&c.Log.Level, "log-level", "info", "least level that is logged: debug, info, warn or error")
	fs.VisitAll(func(f *pflag.Flag) { bindEnvironment(fs, f.Name, environmentName(f.Name)) })
}

func (c *config) addAddressFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Dev, "dev", false, "for trying out: loopback only, a random token key unless one is given, any Origin, demo page at /demo/")
	fs.StringVar(&c.HTTPAddr, "http-addr", "", `address of WebSocket and HTTP (default ":8080", with --dev "127.0.0.1:8080")`)
	fs.StringVar(&c.TLS.CertFile, "tls-cert-file", "", "PEM file with the certificate chain for WebSocket and HTTP; followed when it changes; without it there is no TLS")
	fs.StringVar(&c.TLS.KeyFile, "tls-key-file", "", "PEM file with its private key")
	fs.StringVar(&c.GRPCAddr, "grpc-addr", "127.0.0.1:9090", "address of the Control API; off loopback it needs --grpc-keys-file")
	fs.StringVar(&c.Auth.GRPCKeysFile, "grpc-keys-file", "", "file with the bearer keys of the Control API")
	fs.StringVar(&c.MetricsAddr, "metrics-addr", "127.0.0.1:9091", "loopback address of /metrics and /debug/pprof/")
	fs.StringVar(&c.ReadyFile, "ready-file", "", "file that gets the bound addresses as JSON once the node is up, removed when it ends")
}

func (c *clusterConfig) addTo(fs *pflag.FlagSet) {
	fs.StringVar(&c.NodeName, "node-name", "", "name of this node, unique in the cluster (default: the host's name and a random suffix)")
	fs.Var(secretFlag{&c.NATSURL}, "nats-url", "external NATS, nats:// or tls:// URLs, comma-separated; without it NATS is embedded")
	fs.StringVar(&c.NATSURLFile, "nats-url-file", "", "file with the NATS URLs, for URLs that hold credentials")
	fs.StringVar(&c.Addr, "cluster-addr", "", "HOST:PORT where the embedded NATS servers of other nodes connect; without it the node is alone")
	fs.Var(listFlag{&c.Peers}, "cluster-peers", "nats://HOST:PORT of other nodes, comma-separated; this node may be among them")
	fs.Var(secretFlag{&c.Secret}, "cluster-secret", "secret that embedded nodes share; needed off loopback; better given by file")
	fs.StringVar(&c.SecretFile, "cluster-secret-file", "", "file with the cluster secret")
}

func (c *config) addHistoryFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", "", `directory of the history, of this node alone; "none": no history (default "pushd-data", with --dev a temporary one)`)
	c.History.addTo(fs)
}

func (c *authConfig) addTo(fs *pflag.FlagSet) {
	fs.Var(secretsFlag{&c.Secrets}, "jwt-secret", "HS256/384/512 secret for client tokens, at least 32 bytes; repeatable; better given by file")
	fs.Var(listFlag{&c.SecretFiles}, "jwt-secret-file", "file with one such secret, its trailing line end ignored; repeatable")
	fs.Var(listFlag{&c.PublicKeyFiles}, "jwt-public-key-file", "PEM file with an RSA, EC or Ed25519 public key for client tokens; repeatable")
	fs.StringVar(&c.Audience, "jwt-audience", "", `the "aud" that client tokens must hold`)
	fs.StringVar(&c.Issuer, "jwt-issuer", "", `the "iss" that client tokens must hold`)
	fs.BoolVar(&c.AllowNoExpiry, "allow-no-exp", false, `accept client tokens without "exp"`)
	fs.IntVar(&c.TokenCache, "token-cache", 65536, "verified client tokens that are remembered until they expire, so that reconnects are cheap; 0: none")
	fs.Var(listFlag{&c.AllowOrigins}, "allow-origin", "scheme://host[:port] that browsers may connect from; repeatable (default: the host they connect to)")
	fs.StringVar(&c.CookieName, "cookie-name", "token", "cookie that may hold the token; read only with --allow-origin")
	fs.BoolVar(&c.PublicPublish, "public-publish", false, "let clients publish to public channels")
}

func (c *limitsConfig) addTo(fs *pflag.FlagSet) {
	d := edge.DefaultOptions()
	fs.IntVar(&c.MaxMessageBytes, "max-message-bytes", d.MaxMessageBytes, "largest message of a client or service")
	fs.DurationVar(&c.MessageTimeout, "message-timeout", d.MessageTimeout, "time from the first byte of a client's message to its last; over it the connection is closed with 4102")
	fs.IntVar(&c.MaxChannelsPerConnection, "max-channels-per-connection", d.MaxChannelsPerConnection, "channels that one connection may join")
	fs.IntVar(&c.MaxConnectionsPerUser, "max-connections-per-user", d.MaxConnectionsPerUser, "connections of one user on this node; the newest is refused")
	fs.IntVar(&c.MaxConnections, "max-connections", d.MaxConnections, "connections of this node; 0: unlimited")
	fs.IntVar(&c.GRPCMaxConnections, "grpc-max-connections", control.DefaultMaxConnections, "connections of the Control API of this node; 0: unlimited")
	fs.Float64Var(&c.AcceptRate, "accept-rate", d.AcceptRate, "upgrades a second that are let in, as many at once; 0: unlimited")
	fs.Var(listFlag{&c.Lingers}, "channel-linger", "PATTERN=TIME: messages of such channels may wait so long, at most 5ms, for others to go out with; repeatable")
	fs.Float64Var(&c.InboundRate, "inbound-rate", d.InboundRate, "messages a second that one connection may send for long")
	fs.IntVar(&c.InboundBurst, "inbound-burst", d.InboundBurst, "messages that one connection may send at once")
	fs.IntVar(&c.OutboundQueueBytes, "outbound-queue-bytes", d.OutboundQueueBytes, "what may wait for one connection; over it the connection is closed with 4101")
	fs.IntVar(&c.OutboundQueueFrames, "outbound-queue-frames", d.OutboundQueueFrames, "messages that may wait for one connection; over it the connection is closed with 4101")
	fs.DurationVar(&c.OutboundMaxAge, "outbound-max-age", d.OutboundMaxAge, "time for which a connection may be behind without a break; then it is closed with 4101")
	fs.IntVar(&c.CompressionThreshold, "compression-threshold", d.CompressionThreshold, "bytes from which messages are compressed for clients that can; 0: never, permessage-deflate is not negotiated")
	fs.DurationVar(&c.PingInterval, "ping-interval", d.PingInterval, "time between WebSocket pings of the server")
	fs.DurationVar(&c.IdleTimeout, "idle-timeout", d.IdleTimeout, "a connection that sends nothing, not even a pong, for so long is closed with 4102")
	fs.DurationVar(&c.HandshakeTimeout, "handshake-timeout", d.Handshake.Timeout, "time for a complete request head")
	fs.DurationVar(&c.DrainWindow, "drain-window", d.DrainWindow, "time over which clients are asked to leave at shutdown")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 30*time.Second, "longest time from the signal to the exit")
}
