package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/aegisx/pushd/internal/cluster"
)

// minDrainTimeout leaves each step of the shutdown some time.
const minDrainTimeout = time.Second

// validate reports every setting that must not run, at once.
func (c *config) validate() error {
	errs := []error{
		c.validateAddresses(),
		c.validateTLS(),
		c.validateCluster(),
		c.validateDrain(),
		c.validateHistory(),
	}
	if !c.Dev && len(c.Auth.Secrets) == 0 && len(c.Auth.PublicKeyFiles) == 0 {
		errs = append(errs, errors.New(
			"no key to check client tokens with: give --jwt-secret-file or --jwt-public-key-file, or try it with --dev"))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, fmt.Errorf("--log-format must be text or json, not %q", c.Log.Format))
	}
	if _, err := parseLevel(c.Log.Level); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.Limits.lingers(); err != nil {
		errs = append(errs, err)
	}
	edgeOptions := c.edgeOptions()
	clusterOptions := c.clusterOptions()
	clusterOptions.History = nil // validateHistory has checked it, by the names of the flags.
	errs = append(errs, edgeOptions.Validate(), edgeOptions.Handshake.Validate(), c.validateControl(), clusterOptions.Validate())
	return errors.Join(errs...)
}

func (c *config) validateAddresses() error {
	var errs []error
	for _, a := range []struct{ flag, addr string }{
		{"http-addr", c.HTTPAddr}, {"grpc-addr", c.GRPCAddr}, {"metrics-addr", c.MetricsAddr},
	} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", a.flag, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if c.Dev {
		return c.validateDevAddresses()
	}
	if !isLoopback(c.GRPCAddr) && c.Auth.GRPCKeysFile == "" {
		errs = append(errs, fmt.Errorf(
			"--grpc-addr %s is not loopback: give --grpc-keys-file, or anybody there could push to everybody", c.GRPCAddr))
	}
	if !isLoopback(c.MetricsAddr) {
		errs = append(errs, fmt.Errorf("--metrics-addr %s must be a loopback address: profiles are served there", c.MetricsAddr))
	}
	return errors.Join(errs...)
}

func (c *config) validateDevAddresses() error {
	var errs []error
	for _, a := range []struct{ flag, addr string }{
		{"http-addr", c.HTTPAddr},
		{"grpc-addr", c.GRPCAddr},
		{"metrics-addr", c.MetricsAddr},
		{"cluster-addr", c.Cluster.Addr},
	} {
		if a.addr != "" && !isLoopback(a.addr) {
			errs = append(errs, fmt.Errorf("--dev serves loopback addresses only, not --%s %s", a.flag, a.addr))
		}
	}
	return errors.Join(errs...)
}

func (c *config) validateTLS() error {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file go together")
	}
	return nil
}

func (c *config) validateControl() error {
	if c.Limits.GRPCMaxConnections < 0 {
		return fmt.Errorf("--grpc-max-connections must not be negative, not %d", c.Limits.GRPCMaxConnections)
	}
	return nil
}

func (c *config) validateCluster() error {
	if c.Cluster.NATSURL.isSet() && (c.Cluster.Addr != "" || len(c.Cluster.Peers) > 0) {
		return errors.New("--nats-url excludes --cluster-addr and --cluster-peers: they join embedded servers")
	}
	return nil
}

func (c *config) validateDrain() error {
	l := c.Limits
	switch {
	case l.DrainTimeout < minDrainTimeout:
		return fmt.Errorf("--drain-timeout must be at least %s, not %s", minDrainTimeout, l.DrainTimeout)
	case l.DrainWindow >= clientShare(l.DrainTimeout):
		return fmt.Errorf("--drain-window %s must be shorter than %s, what --drain-timeout %s leaves for it",
			l.DrainWindow, clientShare(l.DrainTimeout), l.DrainTimeout)
	case l.HandshakeTimeout <= 0: // the edge would take 0 for its default
		return fmt.Errorf("--handshake-timeout must be positive, not %s", l.HandshakeTimeout)
	default:
		return nil
	}
}

// isLoopback reports whether addr, HOST:PORT, can only be reached from this
// machine.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && cluster.IsLoopback(host)
}

const (
	maxNodeName = 64
	suffixBytes = 6
)

// defaultNodeName makes a name from the host's, with a suffix so that several
// nodes may run on one host.
func defaultNodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return nodeName(host, strings.ToLower(rand.Text()[:suffixBytes]))
}

// nodeName joins host and suffix to a valid node name.
func nodeName(host, suffix string) string {
	host, _, _ = strings.Cut(host, ".")
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		default:
			return '-'
		}
	}, host)
	clean = strings.Trim(clean, "-")
	clean = clean[:min(len(clean), maxNodeName-len(suffix)-1)]
	if clean == "" {
		clean = "node"
	}
	return clean + "-" + suffix
}
