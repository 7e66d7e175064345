package main

import (
	"strings"
	"testing"
	"time"
)

func TestBanner(t *testing.T) {
	limits := limitsConfig{
		MaxMessageBytes: 1 << 20, OutboundQueueBytes: 1536, MaxChannelsPerConnection: 128, MaxConnectionsPerUser: 16,
		InboundRate: 50, InboundBurst: 100, PingInterval: 25 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	for name, c := range map[string]struct {
		config config
		bound  bound
		want   string
	}{
		"dev": {
			config{Dev: true, Limits: limits, History: historyConfig{MaxBytes: 64 << 20}},
			bound{HTTP: "127.0.0.1:8080", GRPC: "127.0.0.1:9090", Metrics: "127.0.0.1:9091", Node: "here-abc123", DataDir: "/tmp/x", History: true},
			`pushd v1.2.3 is up

  http     http://127.0.0.1:8080
  ws       ws://127.0.0.1:8080/ws
  demo     http://127.0.0.1:8080/demo/
  grpc     127.0.0.1:9090 (open to this machine)
  metrics  http://127.0.0.1:9091/metrics
  node     here-abc123
  nats     embedded, alone
  history  in /tmp/x, at most 64 MiB
  auth     dev, any Origin, JWT with a random key: its tokens die with this process
  limits   message 1 MiB · queue 1536 B · 128 channels per connection · 16 connections per user · 50 messages/s in, burst 100 · ping 25s · idle 2m

`,
		},
		"mesh": {
			config{
				Limits:  limits,
				Auth:    authConfig{Secrets: []secret{newSecret(canary), newSecret(canary)}, PublicKeyFiles: []string{"a"}, GRPCKeysFile: "keys"},
				Cluster: clusterConfig{Peers: []string{"nats://10.0.0.1:6222", "nats://10.0.0.2:6222"}, Secret: newSecret(canary)},
			},
			bound{HTTP: "[::]:8080", GRPC: "10.0.0.1:9090", Metrics: "127.0.0.1:9091", Cluster: "10.0.0.1:6222", Node: "n1"},
			`pushd v1.2.3 is up

  http     http://localhost:8080 (all interfaces)
  ws       ws://localhost:8080/ws
  grpc     10.0.0.1:9090 (bearer keys)
  metrics  http://127.0.0.1:9091/metrics
  node     n1
  nats     embedded, mesh at 10.0.0.1:6222 with nats://10.0.0.1:6222 nats://10.0.0.2:6222
  history  none: no history node yet
  auth     JWT with 2 secrets and 1 public key file
  limits   message 1 MiB · queue 1536 B · 128 channels per connection · 16 connections per user · 50 messages/s in, burst 100 · ping 25s · idle 2m

`,
		},
		"external": {
			config{
				Limits:  limits,
				Auth:    authConfig{Secrets: []secret{newSecret(canary)}},
				Cluster: clusterConfig{NATSURL: newSecret("nats://u:" + canary + "@10.0.0.1:4222,tls://" + canary + "@10.0.0.2:4222")},
			},
			bound{HTTP: "[::1]:8080", GRPC: "[::1]:9090", Metrics: "[::1]:9091", Node: "n1"},
			`pushd v1.2.3 is up

  http     http://[::1]:8080
  ws       ws://[::1]:8080/ws
  grpc     [::1]:9090 (open to this machine)
  metrics  http://[::1]:9091/metrics
  node     n1
  nats     external, nats://10.0.0.1:4222 tls://10.0.0.2:4222
  history  none: NATS has no JetStream
  auth     JWT with 1 secret
  limits   message 1 MiB · queue 1536 B · 128 channels per connection · 16 connections per user · 50 messages/s in, burst 100 · ping 25s · idle 2m

`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := printBanner(&b, &c.config, c.bound, "v1.2.3"); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), c.want)
			}
		})
	}
}

func TestBannerTellsWhereTheHistoryIs(t *testing.T) {
	external := clusterConfig{NATSURL: newSecret("nats://127.0.0.1:4222")}
	for want, c := range map[string]struct {
		config config
		bound  bound
	}{
		"none":                        {config{DataDir: noDataDir}, bound{}},
		"in data, at most 1 GiB":      {config{History: historyConfig{MaxBytes: 1 << 30}}, bound{DataDir: "data", History: true}},
		"in d, at most 3 GiB, synced": {config{History: historyConfig{MaxBytes: 3 << 30, Sync: true}}, bound{DataDir: "d", History: true}},
		"in NATS, at most 1 GiB, 3 copies": {
			config{Cluster: external, History: historyConfig{MaxBytes: 1 << 30, Replicas: 3}}, bound{History: true},
		},
		"at the history nodes": {config{DataDir: defaultDataDir}, bound{History: true}},
	} {
		if got := describeHistory(&c.config, c.bound); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		2 * time.Minute:                 "2m",
		time.Hour:                       "1h",
		25 * time.Second:                "25s",
		time.Hour + 10*time.Minute:      "1h10m",
		10 * time.Minute:                "10m",
		90 * time.Second:                "1m30s",
		time.Hour + 5*time.Second:       "1h0m5s",
		20*time.Hour + 30*time.Minute:   "20h30m",
		100 * time.Hour:                 "100h",
		0:                               "0s",
		1500 * time.Millisecond:         "1.5s",
		3*time.Minute + 20*time.Second:  "3m20s",
		30*time.Minute + 10*time.Second: "30m10s",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}
