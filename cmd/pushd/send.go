package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

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
	delivery  deliveryFlags
	stream    bool
	output    outputFormat
}

// payload is what the flags gave, with "-" already read.
type payload struct {
	text  string
	isRaw bool
}

// compose makes the request of one of the send commands.
type compose func(payload) *pushdv1.PublishRequest

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
{"type":"notification","data":PAYLOAD}.
` + deliveryHelp,
		Example: `  pushd send user acme ann --json '{"text":"hello"}'
  pushd send user acme ann --notification-type orders --json '{"order":17}'
  pushd send user acme ann --json '{"text":"paid"}' --idempotency-key invoice-17 --ttl 1h
  pushd send user acme ann --json '{"text":"hello"}' --receipt written --receipt-timeout 2s
  jq -c '.[]' list.json | pushd send user acme ann --stream`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(p payload) *pushdv1.PublishRequest {
				return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: &pushdv1.NotifyUserRequest{
					TenantId: args[0], UserId: args[1], NotificationType: notificationType,
					Payload: &pushdv1.NotifyUserRequest_Json{Json: p.text},
				}}}
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
		Use:   "tenant TENANT",
		Short: "Send an event to every connection of a tenant",
		Long:  "Send an event to every connection of a tenant.\n" + deliveryHelp,
		Example: `  pushd send tenant acme --type announcement --json '{"text":"hello"}'
  pushd send tenant acme --type announcement --json '{"text":"hello"}' --receipt queued`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(p payload) *pushdv1.PublishRequest {
				r := &pushdv1.BroadcastTenantRequest{TenantId: args[0], EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.BroadcastTenantRequest_Raw{Raw: p.text}
				} else {
					r.Payload = &pushdv1.BroadcastTenantRequest_Json{Json: p.text}
				}
				return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_BroadcastTenant{BroadcastTenant: r}}
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
		Long:  "Send an event to every member of a channel.\n" + deliveryHelp,
		Example: `  pushd send channel tenant:acme:general --type announcement --json '{"text":"hello"}'
  pushd send channel orders --tenant acme --type order --json '{"order":17}' --store always
  pushd send channel public:news --raw '{"type":"news","title":"hello"}'
  tail -f orders.ndjson | pushd send channel tenant:acme:orders --type order --stream`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, func(p payload) *pushdv1.PublishRequest {
				r := &pushdv1.SendChannelRequest{TenantId: tenant, Channel: args[0], EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.SendChannelRequest_Raw{Raw: p.text}
				} else {
					r.Payload = &pushdv1.SendChannelRequest_Json{Json: p.text}
				}
				return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_SendChannel{SendChannel: r}}
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
		Use:   "all",
		Short: "Send an event to every connection of every tenant",
		Long:  "Send an event to every connection of every tenant.\n" + deliveryHelp,
		Example: `  pushd send all --type maintenance --json '{"minutes":5}'
  pushd send all --type maintenance --json '{"minutes":5}' --ttl 5m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(p payload) *pushdv1.PublishRequest {
				r := &pushdv1.BroadcastAllRequest{EventType: f.eventType}
				if p.isRaw {
					r.Payload = &pushdv1.BroadcastAllRequest_Raw{Raw: p.text}
				} else {
					r.Payload = &pushdv1.BroadcastAllRequest_Json{Json: p.text}
				}
				return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_BroadcastAll{BroadcastAll: r}}
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
	fs.BoolVar(&f.stream, "stream", false, "send each line of stdin as a message of its own, and report how many were accepted")
	f.delivery.addTo(fs)
	f.client.addTo(fs)
	addOutputFlag(fs, &f.output)
}

// addEventFlags adds what notifications don't have.
func (f *sendFlags) addEventFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.eventType, "type", "", `type of the event: clients get {"type":TYPE,"data":PAYLOAD}`)
	fs.StringVar(&f.raw, "raw", "", `instead of --json and --type: the whole object with a "type" of its own; - reads it from stdin`)
}

// run sends what the flags say, or each line of stdin.
func (f *sendFlags) run(cmd *cobra.Command, request compose) error {
	if err := f.delivery.check(cmd.Flags()); err != nil {
		return err
	}
	if f.stream {
		return f.runStream(cmd, request)
	}
	p, err := f.read(cmd.Flags(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	if f.delivery.receipt != "" {
		f.client.Timeout += f.delivery.receiptTimeout // the answer waits for it
	}
	r := request(p)
	f.delivery.apply(cmd.Flags(), r)
	return f.client.call(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := send(ctx, pushdv1.NewControlServiceClient(conn), r)
		if err != nil {
			return err
		}
		return f.print(cmd.OutOrStdout(), answer)
	})
}

// sent is the answer of one of the four calls.
type sent interface {
	proto.Message
	outcome
}

// outcome is what the four answers have in common.
type outcome interface {
	GetMessageId() string
	GetOffset() string
	GetEpoch() string
	GetDuplicate() bool
	GetReceipt() *pushdv1.Receipt
}

// send does the call that r stands for.
func send(ctx context.Context, c pushdv1.ControlServiceClient, r *pushdv1.PublishRequest) (sent, error) {
	switch r := r.GetCommand().(type) {
	case *pushdv1.PublishRequest_NotifyUser:
		return c.NotifyUser(ctx, r.NotifyUser)
	case *pushdv1.PublishRequest_BroadcastTenant:
		return c.BroadcastTenant(ctx, r.BroadcastTenant)
	case *pushdv1.PublishRequest_SendChannel:
		return c.SendChannel(ctx, r.SendChannel)
	case *pushdv1.PublishRequest_BroadcastAll:
		return c.BroadcastAll(ctx, r.BroadcastAll)
	default:
		return nil, usagef("nothing to send")
	}
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
	return payload{text, isRaw}, nil
}
