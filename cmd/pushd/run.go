package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/demo"
	"github.com/aegisx/pushd/internal/edge"
)

// The parts don't know each other; here is where they must fit.
var (
	_ cluster.Sink   = (*edge.Hub)(nil)
	_ edge.Bus       = (*cluster.Router)(nil)
	_ edge.Reporter  = (*cluster.Router)(nil)
	_ edge.History   = (*cluster.Router)(nil)
	_ edge.Verifier  = (*auth.Cache)(nil)
	_ control.Router = (*cluster.Router)(nil)
)

// node holds the parts of a running node, in the order in which they are made.
type node struct {
	config    *config
	log       *slog.Logger
	listeners listeners
	hub       *edge.Hub
	router    *cluster.Router
	ready     *readiness
	edge      *edge.Server
	control   *control.Server
	metrics   *http.Server
	certs     *certificates // nil: no TLS

	serving sync.WaitGroup
	// stopWatch ends the watches over the certificate and the heap.
	stopWatch context.CancelFunc
	failed    chan error // one slot per listener
}

type listeners struct{ http, grpc, metrics net.Listener }

// serve builds a node, runs it until ctx ends or a part fails, and drains it.
// now cuts the drain short.
func serve(ctx context.Context, now <-chan struct{}, c *config, out io.Writer, log *slog.Logger) error {
	if err := removeReadyFile(c.ReadyFile); err != nil {
		return err
	}
	removeData, err := c.makeDataDir()
	if err != nil {
		return err
	}
	n, err := build(ctx, c, log)
	if err != nil {
		err = errors.Join(err, removeData())
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Asked to stop before it was up.
		}
		return err
	}
	n.run()
	err = n.announce(out)
	if err == nil {
		select {
		case <-ctx.Done():
			log.Info("draining")
		case err = <-n.failed:
			log.Error("draining after a failure", "error", err)
		}
	}
	return errors.Join(err, n.drain(now), removeData())
}

// build makes the parts and joins the cluster. Nothing is served yet. After an
// error nothing is left behind.
func build(ctx context.Context, c *config, log *slog.Logger) (_ *node, err error) {
	devKey := c.devKey()
	verifier, err := c.newVerifier(devKey)
	if err != nil {
		return nil, &usageError{err}
	}
	controlOptions, err := c.controlOptions()
	if err != nil {
		return nil, &usageError{err}
	}
	certs, err := c.loadCertificates(log)
	if err != nil {
		return nil, &usageError{err}
	}
	n := &node{config: c, log: log, certs: certs, failed: make(chan error, 3)}
	if n.listeners, err = listen(ctx, c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	reg := newRegistry(readBuild())
	if err := n.buildCluster(ctx, reg); err != nil {
		return nil, err
	}
	n.ready = &readiness{messaging: n.router.Ready}
	n.metrics = newMetricsServer(reg, n.ready)
	controlOptions.Logger, controlOptions.Registerer = log, reg
	if n.control, err = control.NewServer(controlOptions, n.router); err != nil {
		return nil, fmt.Errorf("control API: %w", err)
	}
	var page http.Handler
	if c.Dev {
		page = demo.Handler(demo.Options{
			GRPCAddr:     n.listeners.grpc.Addr().String(),
			GRPCNeedsKey: c.Auth.GRPCKeysFile != "",
			Sign:         c.demoSigner(devKey),
		})
	}
	// The last part that can fail: it starts a goroutine that only its drain
	// ends.
	if n.edge, err = edge.NewServer(n.hub, verifier, n.router, n.router, newFallback(n.ready, page)); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return n, nil
}

// buildCluster makes the loops and joins the cluster that delivers to them.
func (n *node) buildCluster(ctx context.Context, reg prometheus.Registerer) error {
	edgeOptions := n.config.edgeOptions()
	edgeOptions.Logger, edgeOptions.Registerer = n.log, reg
	edgeOptions.Handshake.Registerer = reg
	edgeOptions.TLS = n.certs.config()
	hub, err := edge.NewHub(edgeOptions)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	n.hub = hub
	clusterOptions := n.config.clusterOptions()
	clusterOptions.Logger, clusterOptions.Registerer = n.log, reg
	router, err := cluster.Start(ctx, clusterOptions, hub)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	n.router = router
	return nil
}

// listen binds the addresses, all or none.
func listen(ctx context.Context, c *config) (l listeners, err error) {
	// Pings find dead peers sooner than TCP would; its keepalive is four more
	// system calls for each connection.
	lc := net.ListenConfig{KeepAlive: -1}
	bind := func(to *net.Listener, flag, addr string) {
		if err != nil {
			return
		}
		if *to, err = lc.Listen(ctx, "tcp", addr); err != nil {
			err = fmt.Errorf("--%s: %w", flag, err)
		}
	}
	bind(&l.http, "http-addr", c.HTTPAddr)
	bind(&l.grpc, "grpc-addr", c.GRPCAddr)
	bind(&l.metrics, "metrics-addr", c.MetricsAddr)
	if err != nil {
		l.close()
	}
	return l, err
}

// close closes what is open. Closing a listener twice does no harm.
func (l listeners) close() {
	for _, ln := range []net.Listener{l.http, l.grpc, l.metrics} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

// abandon undoes a build that stopped half-way.
func (n *node) abandon() {
	n.listeners.close()
	ctx, cancel := context.WithTimeout(context.Background(), abandonTimeout)
	defer cancel()
	if n.control != nil {
		if err := n.control.Shutdown(ctx); err != nil {
			n.log.Warn("calls cut", "error", err)
		}
	}
	if n.router != nil {
		if err := n.router.Close(ctx); err != nil {
			n.log.Warn("cluster not left cleanly", "error", err)
		}
	}
	if n.hub != nil {
		n.hub.Close()
	}
}

// abandonTimeout bounds leaving a cluster that was joined a moment ago.
const abandonTimeout = 2 * time.Second

// run starts serving. Each goroutine ends when drain closes its part; drain
// waits for all.
func (n *node) run() {
	n.start("http", func() error { return n.edge.Serve(n.listeners.http) })
	n.start("grpc", func() error { return n.control.Serve(n.listeners.grpc) })
	n.start("metrics", func() error {
		if err := n.metrics.Serve(n.listeners.metrics); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	n.control.SetServing(true)
	ctx, cancel := context.WithCancel(context.Background())
	n.stopWatch = cancel
	if !setsGOGC(systemEnvironment()) {
		n.serving.Go(func() { tendHeap(ctx) })
	}
	if n.certs != nil {
		n.serving.Go(func() { n.certs.watch(ctx, certificateCheck) })
	}
}

func (n *node) start(name string, serve func() error) {
	n.serving.Go(func() {
		if err := serve(); err != nil {
			n.failed <- fmt.Errorf("%s server: %w", name, err)
		}
	})
}

// announce says that the node is up: to scripts by the ready file, then to
// people by the banner.
func (n *node) announce(out io.Writer) error {
	b := n.bound()
	if path := n.config.ReadyFile; path != "" {
		if err := writeReadyFile(path, b); err != nil {
			return err
		}
	}
	return printBanner(out, n.config, b, readBuild().Version)
}

func (n *node) bound() bound {
	b := bound{
		HTTP:    n.listeners.http.Addr().String(),
		GRPC:    n.listeners.grpc.Addr().String(),
		Metrics: n.listeners.metrics.Addr().String(),
		Node:    n.config.Cluster.NodeName,
		PID:     os.Getpid(),
		History: n.router.HasHistory(),
	}
	if n.config.storesHistory() {
		b.DataDir = n.config.DataDir
	}
	if addr := n.router.ClusterAddr(); addr != nil {
		b.Cluster = addr.String()
	}
	return b
}
