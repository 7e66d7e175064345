package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// clearScreen puts the cursor home and clears what a terminal shows.
const clearScreen = "\x1b[H\x1b[2J"

type statsFlags struct {
	client   client
	request  pushdv1.StatsRequest
	watch    bool
	interval time.Duration
	output   outputFormat
}

func newStatsCommand() *cobra.Command {
	f := &statsFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what is connected now, over all nodes",
		Example: `  pushd stats
  pushd stats --watch
  pushd stats --tenant acme --fresh --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.interval <= 0 {
				return usagef("--interval must be positive, not %s", f.interval)
			}
			return f.client.session(func(conn *grpc.ClientConn) error {
				if f.watch {
					return f.repeat(cmd.Context(), conn, cmd.OutOrStdout(), cmd.ErrOrStderr())
				}
				return f.once(cmd.Context(), conn, cmd.OutOrStdout(), "")
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVarP(&f.watch, "watch", "w", false, "repeat until interrupted")
	fs.DurationVar(&f.interval, "interval", time.Second, "time between two rounds of --watch")
	fs.StringVar(&f.request.TenantId, "tenant", "", "this tenant only")
	fs.StringVar(&f.request.Channel, "channel", "", "this channel only; --tenant says whose it is, where its name does not")
	fs.Uint32Var(&f.request.Top, "top", 0, "length of the lists, at most 1000 (default 20)")
	fs.BoolVar(&f.request.Fresh, "fresh", false, "ask every node now; otherwise figures may be 1 s old")
	f.client.addTo(fs)
	addOutputFlag(fs, &f.output)
	return cmd
}

// once asks and prints; before is printed first, once there is an answer.
func (f *statsFlags) once(ctx context.Context, conn *grpc.ClientConn, w io.Writer, before string) error {
	return f.client.within(ctx, conn, func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := pushdv1.NewControlServiceClient(conn).Stats(ctx, &f.request)
		if err != nil {
			return err
		}
		text, err := f.format(answer)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, before+text)
		return err
	})
}

// repeat asks and prints until it is interrupted. On a terminal each answer
// takes the place of the last. An error ends it only when there was no answer
// yet: later it may pass.
func (f *statsFlags) repeat(ctx context.Context, conn *grpc.ClientConn, w, errOut io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	before := ""
	if f.output == outputText && isTerminal(w) {
		before = clearScreen
	}
	ticker := time.NewTicker(f.interval)
	defer ticker.Stop()
	for answered := false; ; answered = true {
		err := f.once(ctx, conn, w, before)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !answered:
			return err
		case err != nil:
			if _, err := fmt.Fprintln(errOut, err); err != nil {
				return fmt.Errorf("print stats: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *statsFlags) format(answer *pushdv1.StatsResponse) (string, error) {
	if f.output == outputText {
		return statsTable(answer), nil
	}
	return answerLine(answer)
}

// missing says whose figures are not there.
func missing(nodes []string) string {
	if len(nodes) == 0 {
		return "messaging is not available, this is one node alone"
	}
	return "no figures from " + strings.Join(nodes, ", ")
}

// statsTable lays an answer out for people.
func statsTable(r *pushdv1.StatsResponse) string {
	var b strings.Builder
	t := r.GetTotals()
	fmt.Fprintf(&b, "%s  %d connections, %d users, %d tenants, %d channels\n",
		r.GetAsOf().AsTime().Local().Format(time.DateTime),
		t.GetConnections(), t.GetUsers(), t.GetTenants(), t.GetChannels())
	fmt.Fprintf(&b, "in  %d messages, %d bytes\nout %d messages, %d bytes, %d dropped\n",
		t.GetMessagesIn(), t.GetBytesIn(), t.GetMessagesOut(), t.GetBytesOut(), t.GetDropped())
	if !r.GetComplete() {
		b.WriteString("incomplete: " + printable(missing(r.GetMissingNodes())) + "\n")
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row(w, "\nNODE", "STATE", "VERSION", "UP", "CONNECTIONS")
	for _, n := range r.GetNodes() {
		up := r.GetAsOf().AsTime().Sub(n.GetStartedAt().AsTime()).Truncate(time.Second)
		row(w, n.GetName(), nodeState(n.GetState()), n.GetVersion(), up, n.GetTotals().GetConnections())
	}
	if len(r.GetTenants()) > 0 {
		row(w, "\nTENANT", "CONNECTIONS", "USERS", "CHANNELS")
		for _, x := range r.GetTenants() {
			row(w, x.GetTenantId(), x.GetConnections(), x.GetUsers(), x.GetChannels())
		}
		more(w, r.GetTruncatedTenants())
	}
	if len(r.GetChannels()) > 0 {
		row(w, "\nCHANNEL", "TENANT", "CONNECTIONS")
		for _, x := range r.GetChannels() {
			row(w, x.GetChannel(), x.GetTenantId(), x.GetConnections())
		}
		more(w, r.GetTruncatedChannels())
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// row writes one line of a table. Texts come from elsewhere, so they are made
// safe to show; a leading line break separates tables.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		text, separated := strings.CutPrefix(fmt.Sprint(c), "\n")
		if separated {
			_, _ = io.WriteString(w, "\n")
		}
		if i > 0 {
			_, _ = io.WriteString(w, "\t")
		}
		if text == "" {
			text = "-"
		}
		_, _ = io.WriteString(w, printable(text))
	}
	_, _ = io.WriteString(w, "\n")
}

func more(w io.Writer, n uint64) {
	if n > 0 {
		_, _ = fmt.Fprintf(w, "and %d more\n", n)
	}
}

func nodeState(s pushdv1.NodeState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "NODE_STATE_"))
}
