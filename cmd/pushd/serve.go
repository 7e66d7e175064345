package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

func newServeCommand() *cobra.Command {
	c := &config{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node: WebSocket for clients, gRPC for services, NATS between nodes.

Every flag can also be set in the environment, by the variable in brackets; the
flag wins. The first SIGTERM or SIGINT asks clients to leave (close code 4000),
finishes the calls in flight and exits; the second closes everything at once.`,
		Example: `  # Try it on this machine, with a demo page:
  pushd serve --dev

  # In production, behind a load balancer that ends TLS:
  pushd serve --jwt-secret-file /run/secrets/jwt --allow-origin https://app.example.com

  # One of three nodes:
  pushd serve --jwt-secret-file /run/secrets/jwt --cluster-secret-file /run/secrets/cluster \
    --cluster-addr 10.0.0.1:6222 --cluster-peers nats://10.0.0.1:6222,nats://10.0.0.2:6222,nats://10.0.0.3:6222`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.resolve(); err != nil {
				return &usageError{err}
			}
			log, err := newLogger(c.Log, cmd.ErrOrStderr())
			if err != nil {
				return &usageError{err}
			}
			ctx, now, release := watchSignals(cmd.Context())
			defer release()
			return serve(ctx, now, c, cmd.OutOrStdout(), log)
		},
	}
	c.addTo(cmd.Flags())
	return cmd
}

// watchSignals returns a context that ends at the first SIGTERM or SIGINT, or
// with parent, and a channel that is closed at the second. Call release once;
// from then on signals have their usual effect, unless one has come: then the
// process is about to end, and another must not change how.
func watchSignals(parent context.Context) (ctx context.Context, now <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	second := make(chan struct{})
	released := make(chan struct{})
	ending := false // set by watcher
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-signals:
			ending = true
			cancel()
		case <-ctx.Done():
		case <-released:
			return
		}
		select {
		case <-signals:
			close(second)
		case <-released:
		}
	})
	return ctx, second, func() {
		close(released)
		watcher.Wait()
		if !ending {
			signal.Stop(signals)
		}
		cancel()
	}
}
