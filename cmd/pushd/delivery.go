package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// deliveryHelp is the part of the help that all send commands share.
const deliveryHelp = `
The answer says that the message was accepted and, where its target has a
history, at which offset it is stored. --receipt also waits for what became of
it: queued at connections, written to their sockets, or acknowledged by the
clients. What is not heard of in time is unknown, never a success.

--idempotency-key makes it safe to send again: within two minutes the same
message with the same key is not sent twice. --stream sends many messages over
one stream, one for each line of stdin: its payload or, where neither --type
nor a notification wraps it, the whole object.`

// deliveryFlags are the options of a message.
type deliveryFlags struct {
	key            string
	ttl            time.Duration
	exclude        string
	store          storeChoice
	receipt        receiptLevel
	receiptTimeout time.Duration
}

func (d *deliveryFlags) addTo(fs *pflag.FlagSet) {
	d.store = storeRule
	fs.StringVar(&d.key, "idempotency-key", "", "name of the message, at most 64 bytes: the same one within two minutes is not sent again")
	fs.DurationVar(&d.ttl, "ttl", 0, "how long the message is worth delivering, 1ms to 720h; at least 1s where it is stored")
	fs.StringVar(&d.exclude, "exclude-connection", "", `id of a connection that must not get it, as in its "connection" message`)
	fs.Var(&d.store, "store", "whether the message goes into the history: as its rules say, always, or never")
	fs.Var(&d.receipt, "receipt", "wait until the message is queued, written or acked, and report for how many connections it is")
	fs.DurationVar(&d.receiptTimeout, "receipt-timeout", time.Second, "how long to wait for the receipt, 1ms to 30s")
}

func (d *deliveryFlags) check(fs *pflag.FlagSet) error {
	if d.receipt == "" && fs.Changed("receipt-timeout") {
		return usagef("--receipt-timeout needs --receipt")
	}
	return nil
}

// apply puts the options into r. Those that were not given stay unset.
func (d *deliveryFlags) apply(fs *pflag.FlagSet, r *pushdv1.PublishRequest) {
	var ttl *durationpb.Duration
	if fs.Changed("ttl") {
		ttl = durationpb.New(d.ttl)
	}
	var receipt *pushdv1.ReceiptRequest
	if d.receipt != "" {
		receipt = &pushdv1.ReceiptRequest{Level: d.receipt.level(), Timeout: durationpb.New(d.receiptTimeout)}
	}
	store := d.store.value()
	switch r := r.GetCommand().(type) {
	case *pushdv1.PublishRequest_NotifyUser:
		r.NotifyUser.IdempotencyKey, r.NotifyUser.ExcludeConnectionId = d.key, d.exclude
		r.NotifyUser.Ttl, r.NotifyUser.Store, r.NotifyUser.Receipt = ttl, store, receipt
	case *pushdv1.PublishRequest_BroadcastTenant:
		r.BroadcastTenant.IdempotencyKey, r.BroadcastTenant.ExcludeConnectionId = d.key, d.exclude
		r.BroadcastTenant.Ttl, r.BroadcastTenant.Store, r.BroadcastTenant.Receipt = ttl, store, receipt
	case *pushdv1.PublishRequest_SendChannel:
		r.SendChannel.IdempotencyKey, r.SendChannel.ExcludeConnectionId = d.key, d.exclude
		r.SendChannel.Ttl, r.SendChannel.Store, r.SendChannel.Receipt = ttl, store, receipt
	case *pushdv1.PublishRequest_BroadcastAll:
		r.BroadcastAll.IdempotencyKey, r.BroadcastAll.ExcludeConnectionId = d.key, d.exclude
		r.BroadcastAll.Ttl, r.BroadcastAll.Store, r.BroadcastAll.Receipt = ttl, store, receipt
	}
}

// storeChoice is a flag value, so a wrong choice is a usage error.
type storeChoice string

const (
	storeRule   storeChoice = "rule"
	storeAlways storeChoice = "always"
	storeNever  storeChoice = "never"
)

// Set implements pflag.Value.
func (c *storeChoice) Set(text string) error {
	switch v := storeChoice(text); v {
	case storeRule, storeAlways, storeNever:
		*c = v
		return nil
	default:
		return fmt.Errorf("must be rule, always or never, not %q", text)
	}
}

// String implements pflag.Value.
func (c *storeChoice) String() string { return string(*c) }

// Type implements pflag.Value.
func (c *storeChoice) Type() string { return "rule|always|never" }

func (c *storeChoice) value() pushdv1.Store {
	switch *c {
	case storeAlways:
		return pushdv1.Store_STORE_ALWAYS
	case storeNever:
		return pushdv1.Store_STORE_NEVER
	default:
		return pushdv1.Store_STORE_UNSPECIFIED
	}
}

// receiptLevel is a flag value; empty for no receipt.
type receiptLevel string

const (
	receiptQueued  receiptLevel = "queued"
	receiptWritten receiptLevel = "written"
	receiptAcked   receiptLevel = "acked"
)

// Set implements pflag.Value.
func (l *receiptLevel) Set(text string) error {
	switch v := receiptLevel(text); v {
	case receiptQueued, receiptWritten, receiptAcked:
		*l = v
		return nil
	default:
		return fmt.Errorf("must be queued, written or acked, not %q", text)
	}
}

// String implements pflag.Value.
func (l *receiptLevel) String() string { return string(*l) }

// Type implements pflag.Value.
func (l *receiptLevel) Type() string { return "queued|written|acked" }

func (l *receiptLevel) level() pushdv1.ReceiptLevel {
	switch *l {
	case receiptQueued:
		return pushdv1.ReceiptLevel_RECEIPT_LEVEL_QUEUED
	case receiptWritten:
		return pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN
	case receiptAcked:
		return pushdv1.ReceiptLevel_RECEIPT_LEVEL_ACKED
	default:
		return pushdv1.ReceiptLevel_RECEIPT_LEVEL_UNSPECIFIED
	}
}
