package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// maxStdin bounds a payload that is read from stdin. It is above every limit
// of a server, which has the last word.
const maxStdin = 64 << 20

// sendFlags are what the four send commands share.
type sendFlags struct {
	client    client
	json, raw string
	eventType string
	output    outputFormat
}

// payload is what the flags gave, with "-" already read.
type payload struct {
	json, raw string
	isRaw     bool
}

func newSendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Push a message to a user, a tenant, a channel or everybody",
		Example: `  pushd send user acme ann --json '{"text":"hello"}'
  pushd send tenant acme --type announcement --json '{"text":"hello"}'
  pushd send channel tenant:acme:general --type announcement --json '{"text":"hello"}'
  echo '{"text":"hello"}' | pushd send all --type announcement --json -`,
	}
	requireSubcommand(cmd)
	cmd.AddCommand(newSendUserCommand(), newSendTenantCommand(), newSendChannelCommand(), newSendAllCommand())
	return cmd
}

func newSendUserCommand() *cobra.Command {
	f := &sendFlags{output: outputText}
	var notificationType string
	cmd := &cobra.Command{
		Use:   "user TENANT USER",
		Short: "Send a notification to every connection of a user",
		Long: `Send a notification to every connection of a user. Clients get
{"type":"notification","data":PAYLOAD}.`,
		Example: `  pushd send user acme ann --json '{"text":"hello"}'
  pushd send user acme ann --notification-type orders --json '{"order":17}'`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.send(cmd, func(ctx context.Context, c pushdv1.ControlServiceClient, p payload) (accepted, error) {
				return c.NotifyUser(ctx, &pushdv1.NotifyUserRequest{
					TenantId: args[0], UserId: args[1], NotificationType: notificationType,
					Payload: &pushdv1.NotifyUserRequest_Json{Json: p.json},
				})
			})
		},
	}
	f.addTo(cmd.Flags())
	cmd.Flags().StringVar(&notificationType, "notification-type", "",
		"only to connections that subscribed to this type, to all types or to none")
	return cmd
}

func newSendTenantCommand() *cobra.Command {
	f := &sendFlags{output: outputText}
	cmd := &cobra.Command{
		Use:     "tenant TENANT",
		Short:   "Send an event to every connection of a tenant",
		Example: `  pushd send tenant acme --type announcement --json '{"text":"hello"}'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.send(cmd, func(ctx context.Context, c pushdv1.ControlServiceClient, p payload) (accepted, error) {
				r := &pushdv1.BroadcastTenantRequest{TenantId: args[0], EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.BroadcastTenantRequest_Raw{Raw: p.raw}
				} else {
					r.Payload = &pushdv1.BroadcastTenantRequest_Json{Json: p.json}
				}
				return c.BroadcastTenant(ctx, r)
			})
		},
	}
	f.addTo(cmd.Flags())
	f.addEventFlags(cmd.Flags())
	return cmd
}

func newSendChannelCommand() *cobra.Command {
	f := &sendFlags{output: outputText}
	var tenant string
	cmd := &cobra.Command{
		Use:   "channel CHANNEL",
		Short: "Send an event to every member of a channel",
		Example: `  pushd send channel tenant:acme:general --type announcement --json '{"text":"hello"}'
  pushd send channel orders --tenant acme --type order --json '{"order":17}'
  pushd send channel public:news --raw '{"type":"news","title":"hello"}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.send(cmd, func(ctx context.Context, c pushdv1.ControlServiceClient, p payload) (accepted, error) {
				r := &pushdv1.SendChannelRequest{TenantId: tenant, Channel: args[0], EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.SendChannelRequest_Raw{Raw: p.raw}
				} else {
					r.Payload = &pushdv1.SendChannelRequest_Json{Json: p.json}
				}
				return c.SendChannel(ctx, r)
			})
		},
	}
	f.addTo(cmd.Flags())
	f.addEventFlags(cmd.Flags())
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant of the channel, where its name does not say it")
	return cmd
}

func newSendAllCommand() *cobra.Command {
	f := &sendFlags{output: outputText}
	cmd := &cobra.Command{
		Use:     "all",
		Short:   "Send an event to every connection of every tenant",
		Example: `  pushd send all --type maintenance --json '{"minutes":5}'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.send(cmd, func(ctx context.Context, c pushdv1.ControlServiceClient, p payload) (accepted, error) {
				r := &pushdv1.BroadcastAllRequest{EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.BroadcastAllRequest_Raw{Raw: p.raw}
				} else {
					r.Payload = &pushdv1.BroadcastAllRequest_Json{Json: p.json}
				}
				return c.BroadcastAll(ctx, r)
			})
		},
	}
	f.addTo(cmd.Flags())
	f.addEventFlags(cmd.Flags())
	return cmd
}

func (f *sendFlags) addTo(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&f.json, "json", "", "payload: any JSON; - reads it from stdin")
	fs.StringVar(&f.json, "data", "", "the same as --json")
	f.client.addTo(fs)
	addOutputFlag(fs, &f.output)
}

// addEventFlags adds what notifications don't have.
func (f *sendFlags) addEventFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.eventType, "type", "", `type of the event: clients get {"type":TYPE,"data":PAYLOAD}`)
	fs.StringVar(&f.raw, "raw", "", `instead of --json and --type: the whole object with a "type" of its own; - reads it from stdin`)
}

// accepted is what all answers have in common.
type accepted interface{ GetMessageId() string }

// send reads the payload, does one call and prints the answer.
func (f *sendFlags) send(
	cmd *cobra.Command, do func(context.Context, pushdv1.ControlServiceClient, payload) (accepted, error),
) error {
	p, err := f.read(cmd.Flags(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	return f.client.call(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := do(ctx, pushdv1.NewControlServiceClient(conn), p)
		if err != nil {
			return err
		}
		return f.print(cmd.OutOrStdout(), answer.GetMessageId())
	})
}

func (f *sendFlags) read(fs *pflag.FlagSet, stdin io.Reader) (payload, error) {
	given := 0
	for _, name := range []string{"json", "data", "raw"} {
		if fs.Changed(name) {
			given++
		}
	}
	isRaw := fs.Changed("raw")
	switch {
	case given == 0:
		return payload{}, usagef("a payload is missing: give --json")
	case given > 1:
		return payload{}, usagef("give one payload only")
	case isRaw && f.eventType != "":
		return payload{}, usagef("--raw excludes --type: the object has a type of its own")
	case !isRaw && fs.Lookup("type") != nil && f.eventType == "":
		return payload{}, usagef("--type is missing")
	}
	text := f.json
	if isRaw {
		text = f.raw
	}
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(stdin, maxStdin))
		if err != nil {
			return payload{}, fmt.Errorf("read payload: %w", err)
		}
		text = string(bytes.TrimSpace(read))
	}
	if isRaw {
		return payload{raw: text, isRaw: true}, nil
	}
	return payload{json: text}, nil
}

func (f *sendFlags) print(w io.Writer, id string) error {
	text := "accepted " + printable(id) + "\n"
	if f.output == outputJSON {
		var b strings.Builder
		if err := json.NewEncoder(&b).Encode(map[string]string{"message_id": id}); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		text = b.String()
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	return nil
}
