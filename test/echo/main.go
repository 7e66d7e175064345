package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
)

// drainTimeout bounds the goodbye to the clients at the end.
const drainTimeout = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It says on out where it listens.
func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	addr, o, err := parse(args, errOut)
	if err != nil {
		return err
	}
	o.Logger = slog.New(slog.NewTextHandler(errOut, nil))
	hub, err := edge.NewHub(o)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer hub.Close()
	server, err := edge.NewEchoServer(hub)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), drain(ctx, server))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	serving.Go(func() { cancel(server.Serve(ln)) }) // Serve ends with Drain
	if _, err = fmt.Fprintf(out, "listening on ws://%s/ws\n", ln.Addr()); err == nil {
		<-ctx.Done()
	}
	err = errors.Join(err, drain(ctx, server))
	serving.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// drain sends the clients of s away, although ctx may have ended.
func drain(ctx context.Context, s *edge.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return s.Drain(ctx)
}

// parse returns the address to listen on and the options of the server.
func parse(args []string, errOut io.Writer) (string, edge.Options, error) {
	o := edge.EchoOptions()
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	fs.SetOutput(errOut)
	addr := fs.String("addr", "127.0.0.1:9001", "`host:port` to listen on")
	compress := fs.Bool("compress", false, "negotiate permessage-deflate and compress every message that gets shorter")
	fs.Func("driver", "`driver` of the sockets: poll, the system's best, or goroutine (default poll)", func(name string) error {
		switch name {
		case "poll":
			o.NewDriver = poll.New
		case "goroutine":
			o.NewDriver = func(lock sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(lock), nil }
		default:
			return errors.New("neither poll nor goroutine")
		}
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return "", o, err //nolint:wrapcheck // flag has said it already.
	}
	if fs.NArg() > 0 {
		return "", o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *compress {
		o.CompressionThreshold = 1
	}
	return *addr, o, nil
}
