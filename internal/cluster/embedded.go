package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
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
	// serverStart bounds the start after all that is stored has been read; 2 ms
	// are usual. readyStep is one look at it.
	serverStart = 5 * time.Second
	readyStep   = 100 * time.Millisecond
	// maxStreamMemory bounds streams in memory, of which there are none.
	maxStreamMemory = 16 << 20
	// spareStore, and a quarter of the history, is for streams beside it.
	spareStore = 256 << 20
	// syncInterval is how much a crash of the machine may lose of what one
	// server has stored, unless it syncs each message.
	syncInterval = 10 * time.Second
)

// embedded is a NATS server in this process. The connection of this process
// survives a restart of it.
type embedded struct {
	// Set once.
	opts  Options
	log   *natsLog
	token string    // lets a client in
	store *storeDir // nil: it keeps nothing

	// current is nil while no server runs.
	current atomic.Pointer[server.Server]

	// mu is held while the server is stopped or started.
	mu    sync.Mutex
	ended bool
}

// errNoServer answers who connects while no server runs.
var errNoServer = errors.New("the embedded NATS server does not run")

// startEmbedded runs a NATS server in this process. The caller ends it with
// stop.
func startEmbedded(ctx context.Context, o Options, log *natsLog) (*embedded, error) {
	e := &embedded{opts: o, log: log, token: rand.Text()}
	if o.stores() {
		store, err := openStoreDir(o)
		if err != nil {
			return nil, err
		}
		e.store = store
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.startLocked(ctx); err != nil {
		e.endLocked()
		return nil, err
	}
	return e, nil
}

// startLocked starts a server, after the last one has ended.
func (e *embedded) startLocked(ctx context.Context) error {
	so, err := e.serverOptions()
	if err != nil {
		return err
	}
	select {
	case <-e.log.fatal: // of the last one
	default:
	}
	// A server that has never met others takes the number of its routes for
	// theirs: with more of them it would wait for nodes that store nothing. So
	// all but one come later; one, because the server needs it, and sorts those
	// that it has while it dials them.
	later := e.store != nil && len(so.Routes) > historyNodes && e.store.fresh()
	if later {
		so.Routes = so.Routes[:1]
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	srv.SetLoggerV2(e.log, false, false, false)
	srv.Start() // It reads what is stored.
	for deadline := time.Now().Add(serverStart); ; {
		// A short wait at a time: this call doesn't notice that the server
		// has given up.
		if srv.ReadyForConnections(readyStep) {
			e.current.Store(srv)
			return e.addRoutes(srv, later)
		}
		select {
		case text := <-e.log.fatal:
			err = fmt.Errorf("embedded NATS server: %s", text)
		case <-ctx.Done():
			err = fmt.Errorf("embedded NATS server: %w", ctx.Err())
		default:
			if time.Now().Before(deadline) {
				continue
			}
			err = fmt.Errorf("embedded NATS server was not ready within %s", serverStart)
		}
		srv.Shutdown()
		srv.WaitForShutdown()
		return err
	}
}

// addRoutes makes the routes if the start left them out.
func (e *embedded) addRoutes(srv *server.Server, leftOut bool) error {
	if !leftOut {
		return nil
	}
	so, err := e.serverOptions()
	if err == nil {
		err = srv.ReloadOptions(so)
	}
	if err != nil {
		return fmt.Errorf("embedded NATS server: routes: %w", err)
	}
	return nil
}

// stop hands over what this server leads, within ctx, and ends it.
func (e *embedded) stop(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if srv := e.current.Load(); srv != nil && e.store != nil && e.opts.mesh() {
		handOver(ctx, srv)
	}
	e.endLocked()
}

// endLocked ends the server for good. Later calls do nothing.
func (e *embedded) endLocked() {
	if e.ended {
		return
	}
	e.ended = true
	e.shutdownLocked()
	if e.store != nil {
		e.store.close()
	}
}

func (e *embedded) shutdownLocked() {
	if srv := e.current.Swap(nil); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// restart ends the server of a lone node and starts it anew, on what is stored.
// A stream that met a full disk takes nothing before that, which is why the
// mender of the store calls it. The connections of this node come back by
// themselves, some time after restart has returned. ctx bounds the start, not the
// end. After an error no server runs, and restart may be called again. Calls wait
// for one another.
func (e *embedded) restart(ctx context.Context) error {
	if !e.opts.alone() {
		return errors.New("only the server of a lone node is restarted: those of a mesh lead for others")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return errNoServer
	}
	e.shutdownLocked()
	return e.startLocked(ctx)
}

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	srv := e.current.Load()
	if srv == nil {
		return nil, errNoServer
	}
	c, err := srv.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	return c, nil
}

// clientOptions connect to e without a socket.
func (e *embedded) clientOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(e), nats.Token(e.token), nats.IgnoreDiscoveredServers()}
}

func (e *embedded) serverOptions() (*server.Options, error) {
	o := e.opts
	so := &server.Options{
		ServerName:             o.NodeName,
		DontListen:             !o.mesh(),
		Authorization:          e.token,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		MaxPending:             maxPending,
		MaxPayload:             int32(o.MaxPayload + envelopeRoom), //nolint:gosec // Validate bounds it.
	}
	if e.store != nil {
		so.JetStream = true
		so.StoreDir = e.store.path
		so.JetStreamMaxMemory = maxStreamMemory
		so.JetStreamMaxStore = o.History.maxBytes() + o.History.maxBytes()/4 + spareStore
		so.SyncAlways = o.History.Sync
		so.SyncInterval = syncInterval
	}
	if !o.mesh() {
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
