package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegisx/pushd/internal/bench"
)

func newBenchConnectCommand() *cobra.Command {
	f := &benchFlags{output: outputText}
	var hold time.Duration
	var rate float64
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Measure how fast clients connect",
		Long: `Measure how fast clients connect: TCP, TLS with wss://, upgrade, token, one join,
and the answer to it. As soon as one is ready the next begins, so that --in-flight
of them are always under way. With --rate they are due at fixed times instead, and
one that is due while --in-flight are under way waits, which counts as its own time.
With --hold they stay open, which shows what idle connections cost the server; one
that ends meanwhile is a failure. "pushd bench --help" has what all benches share,
and the fields of --output json.

Each connection takes an open file here and one at the server: ulimit -n.`,
		Example: `  pushd bench connect --secret-file secret.txt --clients 5000
  pushd bench connect --secret-file secret.txt --clients 5000 --rate 500
  pushd bench connect --secret-file secret.txt --clients 5000 --hold 10m
  pushd bench connect --secret-file secret.txt --url wss://127.0.0.1:8443/ws --ca-file ca.pem
  pushd bench connect --secret-file secret.txt --url ws://push.internal:8080/ws --allow-remote`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := bench.ConnectOptions{Clients: f.clients, Rate: rate, InFlight: f.inFlight, Hold: hold}
			plan := fmt.Sprintf("%d clients connect, %d at once", f.clients, f.inFlight)
			lasts := hold
			if err := o.Validate(); err == nil && rate > 0 {
				plan = fmt.Sprintf("%d clients connect, %g due in a second", f.clients, rate)
				lasts += time.Duration(float64(f.clients) / rate * float64(time.Second))
			}
			if hold > 0 {
				plan += ", and stay for " + shortDuration(hold)
			}
			return f.run(cmd, benchRun{
				name: "connect", plan: plan, clients: f.clients, lasts: lasts, validate: o.Validate,
				measure: func(ctx context.Context, s bench.Server, w benchWatch) (benchResult, error) {
					o.Stop, o.Progress = w.stop, w.show
					r, err := bench.Connect(ctx, s, o)
					return connectResult{r}, err
				},
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&f.clients, "clients", 1000, "connections that are made")
	fs.Float64Var(&rate, "rate", 0, "connections that are due in a second, open loop; 0: closed loop")
	fs.IntVar(&f.inFlight, "in-flight", 64, "connections that are being made at once; with --rate: at most")
	fs.DurationVar(&hold, "hold", 0, "how long they stay open after the last; 0: not at all")
	f.target.addClientFlags(fs)
	f.target.addCommonFlags(fs)
	addOutputFlag(fs, &f.output)
	return cmd
}

func newBenchFanoutCommand() *cobra.Command {
	f := &trafficFlags{benchFlags: benchFlags{output: outputText}}
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Measure messages to all clients of a channel",
		Long: `Measure messages to a channel of which all clients are members (SendChannel):
deliveries a second and, with --rate, the time from when a message was due until
each client had it. "pushd bench --help" has what all benches share, and the
fields of --output json.`,
		Example: `  # How long does it take, at 20 messages a second to 1000 clients?
  pushd bench fanout --secret-file secret.txt --clients 1000 --rate 20

  # How many are possible, and what CPU time does one cost the server, process 4711 here?
  pushd bench fanout --secret-file secret.txt --clients 1000 --pid 4711`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.runDeliveries(cmd, f.scenario("fanout", fmt.Sprintf("messages to all of %d clients", f.clients)), bench.Fanout)
		},
	}
	f.addTo(cmd.Flags(), 100, 16)
	return cmd
}

func newBenchUnicastCommand() *cobra.Command {
	f := &trafficFlags{benchFlags: benchFlags{output: outputText}}
	cmd := &cobra.Command{
		Use:   "unicast",
		Short: "Measure messages to one client each",
		Long: `Measure messages to one client at random (NotifyUser): messages a second and, with --rate, the time from when a message was due until the client
had it. "pushd bench --help" has what all benches share, and the fields of
--output json.`,
		Example: `  pushd bench unicast --secret-file secret.txt --rate 2000
  pushd bench unicast --secret-file secret.txt --clients 1000 --in-flight 64 --duration 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.runDeliveries(cmd, f.scenario("unicast", fmt.Sprintf("messages to one of %d clients", f.clients)), bench.Unicast)
		},
	}
	f.addTo(cmd.Flags(), 100, 64)
	return cmd
}

func newBenchNotifyCommand() *cobra.Command {
	f := &trafficFlags{benchFlags: benchFlags{output: outputText}}
	var users int
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Measure calls of the Control API",
		Long: `Measure calls of NotifyUser, each for one user at random, until the call
returns; with --stream, commands until the answer comes. Nobody looks whether a message arrives, so users need not be connected:
without --clients this is the Control API and NATS alone, and no secret is needed.
With --clients so many of the users are connected, and their deliveries are part
of the load. "pushd bench --help" has what all benches share, and the fields of
--output json.`,
		Example: `  pushd bench notify
  pushd bench notify --rate 2000 --duration 30s
  pushd bench notify --stream --in-flight 256
  pushd bench notify --users 1000 --clients 100 --secret-file secret.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options := func() bench.NotifyOptions {
				return bench.NotifyOptions{Users: users, TrafficOptions: f.options()}
			}
			r := f.scenario("notify", fmt.Sprintf("calls for one of %d users, %d of them connected", users, f.clients))
			r.validate = func() error { return options().Validate() }
			r.measure = func(ctx context.Context, s bench.Server, w benchWatch) (benchResult, error) {
				o := options()
				o.Stop, o.Progress = w.stop, w.show
				n, err := bench.Notify(ctx, s, o)
				return notifyResult{n}, err
			}
			return f.run(cmd, r)
		},
	}
	cmd.Flags().IntVar(&users, "users", 1000, "users that calls are for")
	f.addTo(cmd.Flags(), 0, 64)
	return cmd
}
