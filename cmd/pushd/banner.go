package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// bound says where a node really listens, which differs from the settings when
// they say port 0.
type bound struct {
	HTTP    string `json:"http"`
	GRPC    string `json:"grpc"`
	Metrics string `json:"metrics"`
	// Cluster is empty unless embedded NATS servers meet here.
	Cluster string `json:"cluster,omitempty"`
	// DataDir is empty unless a history is stored here.
	DataDir string `json:"data_dir,omitempty"`
	// History says that there is one, here or elsewhere.
	History bool   `json:"history"`
	Node    string `json:"node"`
	PID     int    `json:"pid"`
}

// printBanner writes the one block that tells a person what runs. Scripts may
// read it: each line is two spaces, a key, spaces, a value; a blank line ends
// the block.
func printBanner(w io.Writer, c *config, b bound, version string) error {
	web := net.JoinHostPort(visitHost(b.HTTP))
	secure := ""
	if c.TLS.CertFile != "" {
		secure = "s"
	}
	rows := [][2]string{
		{"http", "http" + secure + "://" + web + reach(b.HTTP)},
		{"ws", "ws" + secure + "://" + web + "/ws"},
	}
	if c.Dev {
		rows = append(rows, [2]string{"demo", "http" + secure + "://" + web + "/demo/"})
	}
	rows = append(rows,
		[2]string{"grpc", b.GRPC + describeGRPC(c)},
		[2]string{"metrics", "http://" + b.Metrics + "/metrics"},
		[2]string{"node", b.Node},
		[2]string{"nats", describeNATS(c, b)},
		[2]string{"history", describeHistory(c, b)},
		[2]string{"auth", describeAuth(c)},
		[2]string{"limits", describeLimits(c.Limits)},
	)
	var text strings.Builder
	fmt.Fprintf(&text, "pushd %s is up\n\n", version)
	for _, r := range rows {
		fmt.Fprintf(&text, "  %-8s %s\n", r[0], r[1])
	}
	text.WriteString("\n")
	_, err := io.WriteString(w, text.String())
	if err != nil {
		return fmt.Errorf("banner: %w", err)
	}
	return nil
}

// visitHost returns a host and port that a browser on this machine can visit.
func visitHost(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return host, port
}

func reach(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return " (all interfaces)"
	}
	return ""
}

func describeGRPC(c *config) string {
	if c.Auth.GRPCKeysFile != "" {
		return " (bearer keys)"
	}
	return " (open to this machine)"
}

func describeNATS(c *config, b bound) string {
	switch {
	case c.Cluster.NATSURL.isSet():
		return "external, " + hideCredentials(c.Cluster.NATSURL.reveal())
	case b.Cluster == "":
		return "embedded, alone"
	case len(c.Cluster.Peers) == 0:
		return "embedded, mesh at " + b.Cluster
	default:
		return "embedded, mesh at " + b.Cluster + " with " + strings.Join(c.Cluster.Peers, " ")
	}
}

func describeHistory(c *config, b bound) string {
	switch {
	case c.DataDir == noDataDir:
		return "none"
	case b.DataDir != "":
		text := "in " + b.DataDir + ", at most " + size(int(c.History.MaxBytes))
		if c.History.Sync {
			text += ", synced"
		}
		return text
	case c.Cluster.NATSURL.isSet() && b.History:
		return fmt.Sprintf("in NATS, at most %s, %s", size(int(c.History.MaxBytes)), plural(c.History.Replicas, "copy", "copies"))
	case c.Cluster.NATSURL.isSet():
		return "none: NATS has no JetStream"
	case b.History:
		return "at the history nodes"
	default:
		return "none: no history node yet"
	}
}

// hideCredentials returns the hosts of comma-separated URLs.
func hideCredentials(urls string) string {
	var hosts []string
	for raw := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil {
			hosts = append(hosts, redacted)
			continue
		}
		hosts = append(hosts, u.Scheme+"://"+u.Host)
	}
	return strings.Join(hosts, " ")
}

func describeAuth(c *config) string {
	var keys []string
	if n := len(c.Auth.Secrets); n > 0 {
		keys = append(keys, count(n, "secret"))
	}
	if n := len(c.Auth.PublicKeyFiles); n > 0 {
		keys = append(keys, count(n, "public key file"))
	}
	if c.Dev && len(c.Auth.Secrets) == 0 {
		keys = append(keys, "a random key: its tokens die with this process")
	}
	text := "JWT with " + strings.Join(keys, " and ")
	if c.Dev {
		text = "dev, any Origin, " + text
	}
	return text
}

func describeLimits(l limitsConfig) string {
	parts := []string{
		"message " + size(l.MaxMessageBytes),
		"queue " + size(l.OutboundQueueBytes),
		fmt.Sprintf("%d channels per connection", l.MaxChannelsPerConnection),
		fmt.Sprintf("%d connections per user", l.MaxConnectionsPerUser),
		fmt.Sprintf("%g messages/s in, burst %d", l.InboundRate, l.InboundBurst),
		"ping " + shortDuration(l.PingInterval),
		"idle " + shortDuration(l.IdleTimeout),
	}
	if l.MaxConnections > 0 {
		parts = append(parts, fmt.Sprintf("%d connections", l.MaxConnections))
	}
	return strings.Join(parts, " · ")
}

func count(n int, what string) string { return plural(n, what, what+"s") }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// size prints a number of bytes; whole KiB, MiB and GiB are named so.
func size(n int) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// shortDuration prints d without the zero parts that String adds: 2m, not
// 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
