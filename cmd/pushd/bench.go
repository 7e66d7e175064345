package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/bench"
)

// errInterrupted says that a bench was interrupted twice.
var errInterrupted = errors.New("interrupted")

// benchHelp is what all benches share.
const benchHelp = `Put load on a pushd and measure it from outside.

  connect   how many clients a second connect, authenticate and join
  fanout    each message to all clients, by one call
  unicast   each message to one client at random, by a call each
  notify    calls for users who need not be connected: the Control API alone

Closed loop, the default: --in-flight messages are under way at once, and the
next follows when one has reached all its receivers; with notify, when its call
has returned; with connect, when a client is ready. It finds the most that the
server can do. Open loop, with --rate: messages, or clients with connect, are due
at fixed times, whatever became of those before. It finds how long they take at
that load. All times are measured from when a message or client was due, so that
a server that stalls is charged for everything that had to wait, also for room
below --in-flight, which then bounds the calls or the clients that are connecting.

It is a failure, with exit code 1, when a call fails or the server closes a
connection. With fanout and unicast every message is numbered, and it is a
failure too when one does not arrive, or arrives twice; notify does not look.

Messages are sent by a call each or, with --stream, as commands of one Publish
stream, of which a server takes 256 at once. Where the server's rules say so they
are stored before they count as sent, as notifications are by default; --store
never forbids it.

Clients are users bench-0, bench-1 and so on of --tenant, and members of its
channel "bench"; nobody else gets a message. Run one bench per tenant at a time.
Their tokens are signed with --secret-file, which must be a secret of the server.
The load comes from this machine: where the server runs here too, they share its
processors.

With --url wss:// the clients speak TLS, 1.2 or 1.3, with a whole handshake each,
and with --tls the calls do. Certificates are checked: --ca-file names an authority
that the system does not know. TLS costs this side too: a handshake about what it
costs the server, a message twice what it costs without, a client a goroutine and
some 40 KiB. With many clients, and above all on the server's machine, it may be this
side that is measured.

Only loopback addresses are loaded, unless --allow-remote is given: the other
addresses of this machine need it too.

The first interrupt ends a bench early: what is under way is waited for, and the
result tells of the part. The second ends it at once.

With --output json the result is one line, an object:

  scenario, tenant         what was run; url and server where they were loaded
  started                  when, RFC 3339
  result                   options and figures:
    clients, in_flight, payload_bytes, rate, users, held_seconds
    seconds                how long it took, until the last has arrived
    messages, deliveries, calls, and each of them …_per_second; per_second for connect
    latency_micros         p50, p90, p99, p999 and max: until connected or received
    call_micros            the same: until the call returned
    cpu_micros             with --pid: the server's CPU time per connection, delivery or call
    stopped                true when it was interrupted

What does not apply is left out, or 0.`

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a pushd and measure it",
		Long:  benchHelp,
		Example: `  pushd bench connect --secret-file secret.txt --clients 1000
  pushd bench fanout --secret-file secret.txt --clients 1000 --rate 20
  pushd bench unicast --secret-file secret.txt --output json
  pushd bench notify --rate 500 --duration 30s
  pushd bench notify --stream --in-flight 256 --store never`,
	}
	requireSubcommand(cmd)
	cmd.AddCommand(newBenchConnectCommand(), newBenchFanoutCommand(), newBenchUnicastCommand(), newBenchNotifyCommand())
	return cmd
}

// benchRun is one scenario, ready to be run.
type benchRun struct {
	name string
	// plan says what it will do.
	plan string
	// clients is how many it connects.
	clients int
	// calls says that it calls the Control API, stream that it does so by one
	// stream.
	calls, stream bool
	// store says which messages are to be stored.
	store pushdv1.Store
	// lasts is how long its clients stay, at most, beside the time to connect.
	lasts time.Duration
	// validate reports options that are out of bounds.
	validate func() error
	measure  func(ctx context.Context, s bench.Server, w benchWatch) (benchResult, error)
}

// benchWatch is how a scenario and the one who watches it reach each other.
type benchWatch struct {
	// stop is closed to end the scenario early.
	stop <-chan struct{}
	// show takes the progress.
	show func(bench.Progress)
}

// benchFlags are what all bench commands share.
type benchFlags struct {
	target  benchTarget
	clients int
	// inFlight is how many connects, messages or calls are under way at once.
	inFlight int
	output   outputFormat
}

// run runs a scenario and prints its result.
func (f *benchFlags) run(cmd *cobra.Command, r benchRun) error {
	if err := r.validate(); err != nil {
		return &usageError{err}
	}
	soft, now, release := watchSignals(cmd.Context())
	defer release()
	if err := f.target.check(soft, r); err != nil {
		return err
	}
	report := benchReport{Scenario: r.name, Tenant: f.target.tenant, Started: time.Now()}
	if r.clients > 0 {
		report.URL = f.target.url
	}
	if r.calls {
		report.Server = f.target.client.Server
	}
	errOut := cmd.ErrOrStderr()
	if _, err := fmt.Fprintf(errOut, "loading %s: %s\n", printable(strings.Join(report.targets(), " and ")), r.plan); err != nil {
		return fmt.Errorf("print the plan: %w", err)
	}

	w := benchWatch{stop: soft.Done()}
	var line *bench.Line
	if isTerminal(errOut) {
		line = &bench.Line{W: errOut, Title: r.name}
		w.show = line.Show
	} else {
		w.show = sayWhenHeld(errOut, r.name)
	}
	hard, finish := atOnce(cmd.Context(), now)
	defer finish()
	err := f.target.open(hard, r, func(s *bench.Pushd) (err error) {
		report.Result, err = r.measure(hard, s, w)
		return err
	})
	if line != nil {
		line.Clear()
	}
	if err != nil {
		return f.target.explain(err)
	}
	return report.write(cmd.OutOrStdout(), f.output)
}

// sayWhenHeld returns what shows progress where no terminal is: a log gets one
// line, when all connections are made and no more is to be seen than that they
// are kept. Not safe for concurrent use.
func sayWhenHeld(w io.Writer, title string) func(bench.Progress) {
	said := false
	return func(p bench.Progress) {
		if !p.Level || said {
			return
		}
		said = true
		_, _ = fmt.Fprintf(w, "%s: %d %s\n", title, p.Done, p.What) // Who sees no progress still sees the result.
	}
}

// atOnce returns a context that ends when now is closed, and no sooner: the
// end of parent is a wish to stop in order. Call finish once.
func atOnce(parent context.Context, now <-chan struct{}) (ctx context.Context, finish func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	var watcher sync.WaitGroup // ends with ctx
	watcher.Go(func() {
		select {
		case <-now:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		watcher.Wait()
	}
}

// trafficFlags are what the commands share that send messages.
type trafficFlags struct {
	benchFlags
	payload          int
	rate             float64
	warmup, duration time.Duration
	stream           bool
	store            storeChoice
}

// addTo declares the flags, with the defaults that differ.
func (f *trafficFlags) addTo(fs *pflag.FlagSet, clients, inFlight int) {
	fs.SortFlags = false
	fs.IntVar(&f.clients, "clients", clients, "connections that are made first")
	fs.Float64Var(&f.rate, "rate", 0, "messages that are due in a second, open loop; 0: closed loop")
	fs.IntVar(&f.inFlight, "in-flight", inFlight, "messages under way at once; with --rate: calls under way at once")
	fs.IntVar(&f.payload, "payload", 128, "size of a message, in bytes of JSON")
	fs.DurationVar(&f.duration, "duration", 5*time.Second, "how long messages flow while they are measured")
	fs.DurationVar(&f.warmup, "warmup", 500*time.Millisecond, "how long they flow before that")
	fs.BoolVar(&f.stream, "stream", false, "send them as commands of one Publish stream, not by a call each")
	f.store = storeRule
	fs.Var(&f.store, "store", "whether messages go into the history: as its rules say, always, or never")
	f.target.addClientFlags(fs)
	f.target.addCallFlags(fs)
	f.target.addCommonFlags(fs)
	addOutputFlag(fs, &f.output)
}

func (f *trafficFlags) options() bench.TrafficOptions {
	return bench.TrafficOptions{
		Clients: f.clients, PayloadBytes: f.payload, Rate: f.rate, InFlight: f.inFlight,
		Warmup: f.warmup, Duration: f.duration,
	}
}

// scenario returns a run with what follows from the flags; what says what is
// sent to whom.
func (f *trafficFlags) scenario(name, what string) benchRun {
	load := fmt.Sprintf("%d under way at once", f.inFlight)
	if f.rate > 0 {
		load = fmt.Sprintf("%g due in a second", f.rate)
	}
	what = fmt.Sprintf("%s, %d bytes each", what, f.payload)
	if f.stream {
		what += ", by one stream"
	}
	if f.store != storeRule {
		what += ", " + string(f.store) + " stored"
	}
	plan := fmt.Sprintf("%s, %s, for %s", what, load, shortDuration(f.duration))
	if f.warmup > 0 {
		plan += " after " + shortDuration(f.warmup) + " of warm-up"
	}
	return benchRun{
		name: name, plan: plan, clients: f.clients, calls: true, stream: f.stream, store: f.store.value(),
		lasts:    f.warmup + f.duration,
		validate: func() error { return f.options().Validate() },
	}
}

// runDeliveries runs a scenario whose messages have to arrive.
func (f *trafficFlags) runDeliveries(
	cmd *cobra.Command, r benchRun, measure func(context.Context, bench.Server, bench.TrafficOptions) (bench.TrafficResult, error),
) error {
	r.measure = func(ctx context.Context, s bench.Server, w benchWatch) (benchResult, error) {
		o := f.options()
		o.Stop, o.Progress = w.stop, w.show
		t, err := measure(ctx, s, o)
		return trafficResult{t}, err
	}
	return f.run(cmd, r)
}
