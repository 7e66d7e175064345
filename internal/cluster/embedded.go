package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// clusterName must be the same on all embedded servers.
	clusterName = "pushd"
	// routeUser goes with Options.Secret.
	routeUser = "pushd"
	// maxPending is what may wait for the in-process connection before the
	// server cuts it: with the default of 64 MB a burst did that.
	maxPending = 256 << 20
	// routePing finds a peer that is gone without a FIN in some seconds.
	routePing = 2 * time.Second
	// serverStart bounds the start; 2 ms are usual.
	serverStart = 5 * time.Second
)

// embedded is a NATS server in this process.
type embedded struct {
	*server.Server
	// token lets a client in.
	token string
}

// startEmbedded runs a NATS server in this process. The caller ends it with
// stop.
func startEmbedded(ctx context.Context, o Options, log *natsLog) (*embedded, error) {
	so, err := serverOptions(o)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	e := &embedded{srv, so.Authorization}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	for deadline := time.Now().Add(serverStart); ; {
		// A short wait at a time: this call doesn't notice that the server
		// has given up.
		if srv.ReadyForConnections(100 * time.Millisecond) {
			return e, nil
		}
		select {
		case text := <-log.fatal:
			err = fmt.Errorf("embedded NATS server: %s", text)
		case <-ctx.Done():
			err = fmt.Errorf("embedded NATS server: %w", ctx.Err())
		default:
			if time.Now().Before(deadline) {
				continue
			}
			err = fmt.Errorf("embedded NATS server was not ready within %s", serverStart)
		}
		e.stop()
		return nil, err
	}
}

func (e *embedded) stop() {
	e.Shutdown()
	e.WaitForShutdown()
}

// clientOptions connect to e without a socket.
func (e *embedded) clientOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(e.Server), nats.Token(e.token), nats.IgnoreDiscoveredServers()}
}

func serverOptions(o Options) (*server.Options, error) {
	so := &server.Options{
		ServerName:             o.NodeName,
		DontListen:             !o.mesh(),
		Authorization:          rand.Text(),
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		MaxPending:             maxPending,
		MaxPayload:             int32(o.MaxPayload + envelopeRoom), //nolint:gosec // Validate bounds it.
	}
	if !o.mesh() {
		if h := o.History; h != nil && h.StoreDir != "" {
			so.JetStream, so.StoreDir, so.SyncAlways = true, h.StoreDir, h.Sync
		}
		return so, nil
	}
	host, port, err := splitListenAddr(o.ListenAddr)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	// A server that listens for no clients makes no routes either, and never
	// ends (2.15). So it listens where only this machine can come, for a token
	// that only this process knows.
	so.Host, so.Port = "127.0.0.1", server.RANDOM_PORT
	so.Cluster = server.ClusterOpts{
		Name:         clusterName,
		Host:         host,
		Port:         port,
		NoAdvertise:  true,
		PingInterval: routePing,
		MaxPingsOut:  2,
	}
	if o.Secret != "" {
		so.Cluster.Username, so.Cluster.Password = routeUser, o.Secret
	}
	for _, raw := range o.Peers {
		u, err := parseNATSURL(raw)
		if err != nil {
			return nil, fmt.Errorf("peer: %w", err)
		}
		if o.Secret != "" {
			u.User = url.UserPassword(routeUser, o.Secret)
		}
		so.Routes = append(so.Routes, u)
	}
	return so, nil
}
