package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

type historyFlags struct {
	client  client
	request pushdv1.GetHistoryRequest
	output  outputFormat
}

// historyHelp is the part of the help that both commands share.
const historyHelp = `
Without --offset it begins with the oldest message, with --reverse with the
newest. When there is more, the last line says how to go on: an offset counts
within an epoch, one life of the history, and --epoch makes sure that it is
still the same.`

func newHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what is stored for a user or a channel",
		Example: `  pushd history user acme ann
  pushd history channel tenant:acme:general --reverse --limit 10`,
	}
	requireSubcommand(cmd)
	cmd.AddCommand(newHistoryUserCommand(), newHistoryChannelCommand())
	return cmd
}

func newHistoryUserCommand() *cobra.Command {
	f := &historyFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "user TENANT USER",
		Short: "Show the notifications that are stored for a user",
		Long:  "Show the notifications that are stored for a user.\n" + historyHelp,
		Example: `  pushd history user acme ann
  pushd history user acme ann --reverse --limit 10
  pushd history user acme ann --offset 1742 --epoch 5f1c --output json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.request.TenantId, f.request.UserId = args[0], args[1]
			return f.run(cmd)
		},
	}
	f.addTo(cmd.Flags())
	return cmd
}

func newHistoryChannelCommand() *cobra.Command {
	f := &historyFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "channel CHANNEL",
		Short: "Show the messages that are stored for a channel",
		Long:  "Show the messages that are stored for a channel.\n" + historyHelp,
		Example: `  pushd history channel tenant:acme:general
  pushd history channel orders --tenant acme --reverse --limit 10
  pushd history channel public:news --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.request.Channel = args[0]
			return f.run(cmd)
		},
	}
	f.addTo(cmd.Flags())
	cmd.Flags().StringVar(&f.request.TenantId, "tenant", "", "tenant of the channel, where its name does not say it")
	return cmd
}

func (f *historyFlags) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.BoolVar(&f.request.Reverse, "reverse", false, "the newest first")
	fs.Uint32Var(&f.request.Limit, "limit", 0, "how many messages at most, 1 to 1000 (default 100)")
	fs.StringVar(&f.request.Offset, "offset", "", "only what comes after this offset or, with --reverse, before it")
	fs.StringVar(&f.request.Epoch, "epoch", "", "epoch of the offset: refused if the history has another one by now")
	f.client.addTo(fs)
	addOutputFlag(fs, &f.output)
}

func (f *historyFlags) run(cmd *cobra.Command) error {
	return f.client.call(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := pushdv1.NewAdminServiceClient(conn).GetHistory(ctx, &f.request)
		if err != nil {
			return err
		}
		text := historyTable(answer)
		if f.output == outputJSON {
			if text, err = answerLine(answer); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
			return fmt.Errorf("print history: %w", err)
		}
		return nil
	})
}

// historyTable lays an answer out for people.
func historyTable(r *pushdv1.GetHistoryResponse) string {
	var b strings.Builder
	if len(r.GetMessages()) == 0 {
		b.WriteString("no messages\n")
	} else {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		row(w, "OFFSET", "ACCEPTED", "EXPIRES", "ID", "MESSAGE")
		for _, m := range r.GetMessages() {
			expires := ""
			if at := m.GetExpiresAt(); at != nil {
				expires = at.AsTime().Local().Format(time.DateTime)
			}
			row(w, m.GetOffset(), m.GetAcceptedAt().AsTime().Local().Format(time.DateTime), expires, m.GetMessageId(), m.GetJson())
		}
		_ = w.Flush() // a strings.Builder takes everything
	}
	fmt.Fprintf(&b, "epoch %s", printable(r.GetEpoch()))
	if next := r.GetNextOffset(); next != "" {
		fmt.Fprintf(&b, ", more with --offset %s --epoch %s", printable(next), printable(r.GetEpoch()))
	}
	b.WriteByte('\n')
	return b.String()
}
