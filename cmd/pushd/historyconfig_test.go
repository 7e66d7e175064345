package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/cluster"
)

// describeRules writes the rules of a node down, the tenants sorted.
func describeRules(o *cluster.HistoryOptions) string {
	if o == nil {
		return "no history"
	}
	var parts, tenants []string
	for _, r := range o.Rules.Channels {
		parts = append(parts, r.Channels.String()+"="+r.Limit.String())
	}
	for id, l := range o.Rules.TenantInbox {
		tenants = append(tenants, id.String()+"="+l.String())
	}
	slices.Sort(tenants)
	return strings.Join(slices.Concat(parts, []string{o.Rules.Inbox.String()}, tenants), " ")
}

func TestHistoryRules(t *testing.T) {
	for name, c := range map[string]struct {
		env  variables
		args []string
		want string
	}{
		"default": {nil, nil, "notifications:**=100/24h0m0s 100/24h0m0s"},
		"none":    {nil, []string{"--data-dir", "none"}, "no history"},
		"channels": {
			nil, []string{"--channel-history", "room:*=10/1h", "--channel-history", "notifications:quiet=off,log:**=1/1s"},
			"room:*=10/1h0m0s notifications:quiet=off log:**=1/1s notifications:**=100/24h0m0s 100/24h0m0s",
		},
		"inboxes": {
			nil, []string{"--inbox-history", "a=1/1h", "--inbox-history", "off", "--inbox-history", "b=c=2/1h"},
			"notifications:**=100/24h0m0s off a=1/1h0m0s b=c=2/1h0m0s",
		},
		"environment": {
			variables{"PUSHD_CHANNEL_HISTORY": "room:*=10/1h, x=off", "PUSHD_INBOX_HISTORY": "5/1m"}, nil,
			"room:*=10/1h0m0s x=off notifications:**=100/24h0m0s 5/1m0s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readConfig(t, c.env, append([]string{"--dev"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if text := describeRules(got.clusterOptions().History); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

func TestHistoryOptions(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want cluster.HistoryOptions
	}{
		"lone": {nil, cluster.HistoryOptions{StoreDir: "pushd-data", MaxBytes: 1 << 30, Replicas: 1}},
		"set": {
			[]string{"--data-dir", "d", "--history-max-bytes", "20000000", "--history-sync"},
			cluster.HistoryOptions{StoreDir: "d", MaxBytes: 20_000_000, Sync: true, Replicas: 1},
		},
		"dev": {[]string{"--dev"}, cluster.HistoryOptions{MaxBytes: 64 << 20, Replicas: 1}},
		"mesh": {
			[]string{"--cluster-addr", "127.0.0.1:0", "--cluster-peers", "nats://127.0.0.1:1", "--history-node", "--node-name", "n"},
			cluster.HistoryOptions{StoreDir: "pushd-data", MaxBytes: 1 << 30, Node: true, Replicas: 3},
		},
		"external": {
			[]string{"--nats-url", "nats://127.0.0.1:1", "--history-replicas", "5"},
			cluster.HistoryOptions{StoreDir: "pushd-data", MaxBytes: 1 << 30, Replicas: 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readConfig(t, variables{"PUSHD_JWT_SECRET": testSecret}, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			o := got.clusterOptions().History
			c.want.Rules = o.Rules // compared by TestHistoryRules
			if o.Rules.Hash() == 0 || o.StoreDir != c.want.StoreDir || o.MaxBytes != c.want.MaxBytes ||
				o.Node != c.want.Node || o.Sync != c.want.Sync || o.Replicas != c.want.Replicas {
				t.Errorf("got %+v, want %+v", *o, c.want)
			}
		})
	}
}

func TestDevDataDirEndsWithTheNode(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	at, ended := serveUntil(ctx, t, nil, "--drain-window", "0s")
	if !strings.HasPrefix(at.DataDir, os.Getenv("TMPDIR")) || !at.History {
		t.Errorf("ready file says %+v", at)
	}
	if _, err := os.Stat(filepath.Join(at.DataDir, "lone")); err != nil {
		t.Errorf("the history is not there: %v", err)
	}
	stop()
	if err := receive(t, ended); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	if _, err := os.Stat(at.DataDir); !os.IsNotExist(err) {
		t.Errorf("the data directory was left behind: %v", err)
	}
}

func TestGivenDataDirStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	at, ended := serveUntil(ctx, t, nil, "--drain-window", "0s", "--data-dir", dir)
	if at.DataDir != dir {
		t.Errorf("ready file says %+v", at)
	}
	second := runCommand(t, "", variables{"PUSHD_JWT_SECRET": testSecret}, "serve", "--dev", "--http-addr", "127.0.0.1:0",
		"--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--data-dir", dir)
	if second.code != exitFailure || !strings.Contains(second.err, "another process uses it") {
		t.Errorf("second node: %+v", second)
	}
	stop()
	if err := receive(t, ended); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lone")); err != nil {
		t.Errorf("the history is gone: %v", err)
	}
}

func TestNoDataDirNoHistory(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	at, ended := serveUntil(ctx, t, nil, "--drain-window", "0s", "--data-dir", "none")
	if at.DataDir != "" || at.History {
		t.Errorf("ready file says %+v", at)
	}
	stop()
	if err := receive(t, ended); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}
