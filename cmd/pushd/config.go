package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// environment looks up an environment variable.
type environment func(name string) (value string, ok bool)

// systemEnvironment is the environment of this process. No other place reads
// it.
func systemEnvironment() environment { return os.LookupEnv }

// setsGOGC reports whether the operator has chosen when the runtime collects.
func setsGOGC(env environment) bool {
	value, ok := env("GOGC")
	return ok && value != ""
}

// config is all that can be set for serve. The fields are exported so that
// printing a config by any means goes through the methods of secret.
type config struct {
	// HTTPAddr is where WebSocket and HTTP are served. Empty: the default,
	// which depends on Dev.
	HTTPAddr string
	// GRPCAddr is where the Control API is served.
	GRPCAddr string
	// MetricsAddr is where metrics and profiles are served; loopback only.
	MetricsAddr string
	// DataDir is for the history. Empty: the default, which depends on Dev.
	// noDataDir: there is no history.
	DataDir string
	// ReadyFile is written when the node is up. Empty: none.
	ReadyFile string
	// Dev makes the node easy to try, on this machine only.
	Dev bool

	TLS     tlsConfig
	Cluster clusterConfig
	History historyConfig
	Auth    authConfig
	Limits  limitsConfig
	Log     logConfig
}

// tlsConfig holds the files of the WebSocket listener's certificate; both empty:
// no TLS.
type tlsConfig struct{ CertFile, KeyFile string }

type clusterConfig struct {
	// NodeName is unique in the cluster. Empty: made from the host's name.
	NodeName string
	// Named says that NodeName was given; set by resolve.
	Named bool
	// NATSURL may hold credentials. Empty: embedded NATS.
	NATSURL     secret
	NATSURLFile string
	// Addr is where embedded NATS servers meet. Empty: the node is alone.
	Addr  string
	Peers []string
	// Secret is what embedded NATS servers prove to each other.
	Secret     secret
	SecretFile string
}

type authConfig struct {
	Secrets        []secret
	SecretFiles    []string
	PublicKeyFiles []string
	Audience       string
	Issuer         string
	AllowNoExpiry  bool
	AllowOrigins   []string
	CookieName     string
	PublicPublish  bool
	// TokenCache is how many verified tokens are remembered.
	TokenCache int
	// GRPCKeysFile holds the bearer keys of the Control API. Empty: the API is
	// open, and therefore on loopback only.
	GRPCKeysFile string
}

// limitsConfig holds PROTOCOL's limits; sizes are in bytes.
type limitsConfig struct {
	MaxMessageBytes          int
	MessageTimeout           time.Duration
	MaxChannelsPerConnection int
	MaxConnectionsPerUser    int
	MaxConnections           int
	GRPCMaxConnections       int
	AcceptRate               float64
	Lingers                  []string
	InboundRate              float64
	InboundBurst             int
	OutboundQueueBytes       int
	OutboundQueueFrames      int
	OutboundMaxAge           time.Duration
	CompressionThreshold     int
	PingInterval             time.Duration
	IdleTimeout              time.Duration
	HandshakeTimeout         time.Duration
	DrainWindow              time.Duration
	DrainTimeout             time.Duration
}

type logConfig struct {
	Format string
	Level  string
}

// envAnnotation marks a flag with its environment variable.
const envAnnotation = "pushd_env"

// bindEnvironment makes env set the flag name where the command line doesn't,
// and says so in the flag's help.
func bindEnvironment(fs *pflag.FlagSet, name, env string) {
	f := fs.Lookup(name)
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[envAnnotation] = []string{env}
	f.Usage += " [$" + env + "]"
}

// environmentName returns the variable of a serve flag.
func environmentName(flag string) string {
	return "PUSHD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnvironment sets flags that the command line doesn't set. An empty
// variable counts as unset. A secret and its -file twin count as one: given
// either way as a flag, both variables are left alone.
func applyEnvironment(fs *pflag.FlagSet, env environment) error {
	given := make(map[string]bool)
	fs.Visit(func(f *pflag.Flag) { given[twin(f.Name)] = true })
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		names := f.Annotations[envAnnotation]
		if len(names) == 0 || given[twin(f.Name)] {
			return
		}
		value, ok := env(names[0])
		if !ok || value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", names[0], err))
			return
		}
		f.Changed = true
	})
	if len(errs) > 0 {
		return &usageError{errors.Join(errs...)}
	}
	return nil
}

// twin returns what a secret and its file share.
func twin(flag string) string { return strings.TrimSuffix(flag, "-file") }

// listFlag adds to a list each time it is given, split at commas.
type listFlag struct{ to *[]string }

func (f listFlag) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*f.to = append(*f.to, part)
		}
	}
	return nil
}

func (f listFlag) String() string {
	if f.to == nil {
		return ""
	}
	return strings.Join(*f.to, ",")
}

func (f listFlag) Type() string { return "list" }

// resolve fills in what follows from other settings, reads the secret files
// and refuses what must not run. Call it once, after flags and environment.
func (c *config) resolve() error {
	if c.HTTPAddr == "" {
		c.HTTPAddr = ":8080"
		if c.Dev {
			c.HTTPAddr = "127.0.0.1:8080"
		}
	}
	c.Cluster.Named = c.Cluster.NodeName != ""
	if !c.Cluster.Named {
		c.Cluster.NodeName = defaultNodeName()
	}
	c.resolveHistory()
	var errs []error
	keep := func(to *secret, name, path string) {
		s, err := pickSecret(name, *to, path)
		errs = append(errs, err)
		*to = s
	}
	keep(&c.Cluster.NATSURL, "nats-url", c.Cluster.NATSURLFile)
	keep(&c.Cluster.Secret, "cluster-secret", c.Cluster.SecretFile)
	for _, path := range c.Auth.SecretFiles {
		s, err := readSecret(path)
		errs = append(errs, err)
		c.Auth.Secrets = append(c.Auth.Secrets, s)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.validate()
}
