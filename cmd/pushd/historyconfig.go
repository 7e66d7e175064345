package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
)

const (
	// noDataDir is the --data-dir of a node without history.
	noDataDir      = "none"
	defaultDataDir = "pushd-data"
	// notificationChannels have a history unless a rule before says otherwise.
	notificationChannels = "notifications:**"
	// devHistoryBytes is what the history of --dev takes unless it is told more.
	devHistoryBytes = 64 << 20
	// minHistoryBytes holds some messages of the largest size.
	minHistoryBytes = 16 << 20
	// meshReplicas is how many copies a mesh keeps: one on each history node.
	meshReplicas = 3
)

// historyConfig says what is kept, and where.
type historyConfig struct {
	// Node makes a node of a mesh store the history.
	Node bool
	// Channels holds PATTERN=LIMIT, Inboxes LIMIT or TENANT=LIMIT.
	Channels, Inboxes []string
	// MaxBytes bounds the disk that it takes. 0: the default, which depends on
	// Dev.
	MaxBytes int64
	// Sync writes each message through to the disk.
	Sync bool
	// Replicas counts the copies in an external NATS.
	Replicas int
}

func (c *historyConfig) addTo(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Node, "history-node", false, "store the history of the mesh here; exactly three of its nodes must, each with a --node-name and a --data-dir of its own")
	fs.Var(listFlag{&c.Channels}, "channel-history", "PATTERN=MESSAGES/AGE, or PATTERN=off: what is kept of such channels, the first that matches decides; repeatable (last: notifications:**=100/24h)")
	fs.Var(listFlag{&c.Inboxes}, "inbox-history", "MESSAGES/AGE, or off: what is kept of each user's notifications; TENANT=MESSAGES/AGE for those of one tenant; repeatable (default 100/24h)")
	fs.Int64Var(&c.MaxBytes, "history-max-bytes", 0, "disk that the history takes, then the oldest messages go; 0: 1 GiB, with --dev 64 MiB")
	fs.BoolVar(&c.Sync, "history-sync", false, "write each stored message through to the disk before it counts as stored")
	fs.IntVar(&c.Replicas, "history-replicas", 1, "servers of an external NATS that keep each message")
}

// resolveHistory fills in what follows from other settings. The directory of
// --dev stays empty: it is made when the node starts.
func (c *config) resolveHistory() {
	if c.DataDir == "" && !c.Dev {
		c.DataDir = defaultDataDir
	}
	if c.History.MaxBytes == 0 {
		c.History.MaxBytes = cluster.DefaultHistoryBytes
		if c.Dev {
			c.History.MaxBytes = devHistoryBytes
		}
	}
}

// lone reports whether the node is alone.
func (c *config) lone() bool { return !c.Cluster.NATSURL.isSet() && c.Cluster.Addr == "" }

// storesHistory reports whether this node keeps a history on its own disk.
func (c *config) storesHistory() bool {
	return c.DataDir != noDataDir && (c.lone() || c.History.Node)
}

// rules reads what is kept.
func (c historyConfig) rules() (history.Rules, error) {
	r := history.Rules{Inbox: history.DefaultLimit(), TenantInbox: make(map[address.TenantID]history.Limit)}
	var errs []error
	for _, text := range append(c.Channels[:len(c.Channels):len(c.Channels)], notificationChannels+"="+history.DefaultLimit().String()) {
		rule, err := parseChannelRule(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--channel-history: %w", err))
		}
		r.Channels = append(r.Channels, rule)
	}
	general := false
	for _, text := range c.Inboxes {
		tenant, limit, err := parseInboxRule(text)
		_, twice := r.TenantInbox[tenant]
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("--inbox-history: %w", err))
		case twice, tenant.IsZero() && general:
			errs = append(errs, fmt.Errorf("--inbox-history: %q is the second one for its users", text))
		case tenant.IsZero():
			r.Inbox, general = limit, true
		default:
			r.TenantInbox[tenant] = limit
		}
	}
	return r, errors.Join(errs...)
}

func parseChannelRule(text string) (r history.Rule, err error) {
	// A limit holds no such character, a pattern may.
	at := strings.LastIndexByte(text, '=')
	if at < 0 {
		return r, fmt.Errorf("%q must be PATTERN=MESSAGES/AGE, as room:*=100/24h", text)
	}
	if r.Channels, err = address.ParsePattern(text[:at]); err != nil {
		return r, fmt.Errorf("%q: %w", text, err)
	}
	if r.Limit, err = history.ParseLimit(text[at+1:]); err != nil {
		return r, fmt.Errorf("limit of %q: %w", text[:at], err)
	}
	return r, nil
}

// parseInboxRule returns a zero tenant for a rule for all of them.
func parseInboxRule(text string) (tenant address.TenantID, limit history.Limit, err error) {
	at := strings.LastIndexByte(text, '=')
	if at >= 0 {
		if tenant, err = address.ParseTenantID(text[:at]); err != nil {
			return tenant, limit, fmt.Errorf("%q: %w", text, err)
		}
	}
	if limit, err = history.ParseLimit(text[at+1:]); err != nil {
		return tenant, limit, fmt.Errorf("limit: %w", err)
	}
	return tenant, limit, nil
}

// historyOptions returns nil for a node without history.
func (c *config) historyOptions() *cluster.HistoryOptions {
	if c.DataDir == noDataDir {
		return nil
	}
	o := &cluster.HistoryOptions{
		StoreDir: c.DataDir,
		MaxBytes: c.History.MaxBytes,
		Node:     c.History.Node,
		Sync:     c.History.Sync,
	}
	// validate has reported what can't be read.
	o.Rules, _ = c.History.rules()
	switch {
	case c.Cluster.NATSURL.isSet():
		o.Replicas = c.History.Replicas
	case c.lone():
		o.Replicas = 1
	default:
		o.Replicas = meshReplicas
	}
	return o
}

func (c *config) validateHistory() error {
	h := c.History
	_, err := h.rules()
	errs := []error{err}
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	external := c.Cluster.NATSURL.isSet()
	refuse(h.Node && c.lone(), "--history-node is for nodes of a mesh: a lone node is its own history node")
	refuse(h.Node && external, "--history-node is for nodes of a mesh: an external NATS keeps the history itself")
	refuse(h.Node && !c.Cluster.Named, "--history-node needs --node-name: the other history nodes know this one's store by that name")
	refuse(h.Node && c.Cluster.Addr != "" && len(c.Cluster.Peers) == 0, "--history-node needs --cluster-peers that name the other two")
	refuse(h.Replicas < 1 || h.Replicas > 5, "--history-replicas must be 1 to 5, not %d", h.Replicas)
	refuse(h.Replicas != 1 && !external, "--history-replicas is for an external NATS: a mesh keeps three copies, a lone node one")
	refuse(h.MaxBytes < minHistoryBytes, "--history-max-bytes must be at least %d, or 0 for the default", minHistoryBytes)
	if c.DataDir == noDataDir {
		refuse(h.Node, "--history-node needs a --data-dir")
		refuse(len(h.Channels)+len(h.Inboxes) > 0, "--channel-history and --inbox-history need a history, which --data-dir none turns off")
	}
	return errors.Join(errs...)
}

// makeDataDir makes the directory of a node that was given none, which is the
// case with --dev. The caller removes it by remove, after the node has ended.
func (c *config) makeDataDir() (remove func() error, err error) {
	if c.DataDir != "" || !c.storesHistory() {
		return func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "pushd-dev-")
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	c.DataDir = dir
	return func() error {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		return nil
	}, nil
}
