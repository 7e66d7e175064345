package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// readConfig parses a serve command line without running it.
func readConfig(t *testing.T, env variables, args ...string) (*config, error) {
	t.Helper()
	c := &config{}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.addTo(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if err := applyEnvironment(fs, env.lookup); err != nil {
		return c, err
	}
	return c, c.resolve()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func reveal(all []secret) []string {
	var texts []string
	for _, s := range all {
		texts = append(texts, s.reveal())
	}
	return texts
}

func TestPrecedence(t *testing.T) {
	one, two := write(t, "one\n"), write(t, "two\r\n")
	for name, c := range map[string]struct {
		env  variables
		args []string
		got  func(*config) any
		want any
	}{
		"default":        {nil, nil, func(c *config) any { return c.Limits.InboundBurst }, 100},
		"environment":    {variables{"PUSHD_INBOUND_BURST": "7"}, nil, func(c *config) any { return c.Limits.InboundBurst }, 7},
		"flag":           {variables{"PUSHD_INBOUND_BURST": "7"}, []string{"--inbound-burst=8"}, func(c *config) any { return c.Limits.InboundBurst }, 8},
		"flag = default": {variables{"PUSHD_INBOUND_BURST": "7"}, []string{"--inbound-burst=100"}, func(c *config) any { return c.Limits.InboundBurst }, 100},
		"empty variable": {variables{"PUSHD_INBOUND_BURST": ""}, nil, func(c *config) any { return c.Limits.InboundBurst }, 100},
		"duration":       {variables{"PUSHD_PING_INTERVAL": "3s"}, nil, func(c *config) any { return c.Limits.PingInterval }, 3 * time.Second},
		"bool":           {variables{"PUSHD_PUBLIC_PUBLISH": "true"}, nil, func(c *config) any { return c.Auth.PublicPublish }, true},
		"bool off":       {variables{"PUSHD_PUBLIC_PUBLISH": "true"}, []string{"--public-publish=false"}, func(c *config) any { return c.Auth.PublicPublish }, false},
		"dev address":    {nil, nil, func(c *config) any { return c.HTTPAddr }, "127.0.0.1:8080"},
		"list of variable": {
			variables{"PUSHD_ALLOW_ORIGIN": "https://a.example, https://b.example"}, nil,
			func(c *config) any { return strings.Join(c.Auth.AllowOrigins, "|") }, "https://a.example|https://b.example",
		},
		"list of flags": {
			variables{"PUSHD_ALLOW_ORIGIN": "https://c.example"},
			[]string{"--allow-origin=https://a.example", "--allow-origin=https://b.example"},
			func(c *config) any { return strings.Join(c.Auth.AllowOrigins, "|") }, "https://a.example|https://b.example",
		},
		"secret with comma": {
			variables{"PUSHD_JWT_SECRET": "a,b"}, nil,
			func(c *config) any { return strings.Join(reveal(c.Auth.Secrets), "|") }, "a,b",
		},
		"secret files": {
			nil, []string{"--jwt-secret-file", one, "--jwt-secret-file", two, "--jwt-secret", "zero"},
			func(c *config) any { return strings.Join(reveal(c.Auth.Secrets), "|") }, "zero|one|two",
		},
		"secret flag over file variable": {
			variables{"PUSHD_JWT_SECRET_FILE": one}, []string{"--jwt-secret", "zero"},
			func(c *config) any { return strings.Join(reveal(c.Auth.Secrets), "|") }, "zero",
		},
		"secret file flag over variable": {
			variables{"PUSHD_CLUSTER_SECRET": "zero"}, []string{"--cluster-secret-file", two},
			func(c *config) any { return c.Cluster.Secret.reveal() }, "two",
		},
		"nats url file": {
			variables{"PUSHD_NATS_URL_FILE": write(t, "nats://u:p@127.0.0.1:4222\n")}, nil,
			func(c *config) any { return c.Cluster.NATSURL.reveal() }, "nats://u:p@127.0.0.1:4222",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readConfig(t, c.env, append([]string{"--dev"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if c.got(got) != c.want {
				t.Errorf("got %v, want %v", c.got(got), c.want)
			}
		})
	}
}

func TestEveryFlagHasAWorkingVariable(t *testing.T) {
	c := &config{}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.addTo(fs)
	values := map[string]string{"bool": "true", "int": "12345", "int64": "12345", "float64": "12.5", "duration": "12345ms"}
	fs.VisitAll(func(f *pflag.Flag) {
		t.Run(f.Name, func(t *testing.T) {
			c := &config{}
			fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			c.addTo(fs)
			value := values[f.Value.Type()]
			if value == "" {
				value = "some text"
			}
			name := "PUSHD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			if err := applyEnvironment(fs, variables{name: value}.lookup); err != nil {
				t.Fatal(err)
			}
			changed := fs.Lookup(f.Name)
			if !changed.Changed || changed.Value.String() == changed.DefValue {
				t.Errorf("%s does not set --%s", name, f.Name)
			}
			if !strings.Contains(f.Usage, "[$"+name+"]") {
				t.Errorf("the help of --%s does not name %s", f.Name, name)
			}
		})
	})
}

func TestRefusals(t *testing.T) {
	secretFile := write(t, testSecret)
	keyed := []string{"--jwt-secret-file", secretFile}
	dev := []string{"--dev"}
	for name, c := range map[string]struct {
		base []string
		args []string
		want string // in the error; empty: accepted
	}{
		"key":                     {keyed, nil, ""},
		"dev":                     {dev, nil, ""},
		"dev with key":            {dev, keyed, ""},
		"public key only":         {nil, []string{"--jwt-public-key-file", "key.pem"}, ""},
		"no key":                  {nil, nil, "--jwt-secret-file"},
		"no key names dev":        {nil, nil, "--dev"},
		"missing secret file":     {nil, []string{"--jwt-secret-file", "/does/not/exist"}, "no such file"},
		"empty secret file":       {nil, []string{"--jwt-secret-file", write(t, "\n")}, "is empty"},
		"huge secret file":        {nil, []string{"--jwt-secret-file", write(t, strings.Repeat("x", 70000))}, "is larger than"},
		"dev on all interfaces":   {dev, []string{"--http-addr", ":8080"}, "--dev serves loopback addresses only"},
		"dev on an address":       {dev, []string{"--http-addr", "192.0.2.1:8080"}, "--dev serves loopback"},
		"dev grpc":                {dev, []string{"--grpc-addr", "0.0.0.0:9090", "--grpc-keys-file", "k"}, "--dev serves loopback"},
		"dev metrics":             {dev, []string{"--metrics-addr", ":9091"}, "--dev serves loopback"},
		"dev cluster":             {dev, []string{"--cluster-addr", "0.0.0.0:6222", "--cluster-secret", "x"}, "--dev serves loopback"},
		"dev on IPv6 loopback":    {dev, []string{"--http-addr", "[::1]:0"}, ""},
		"dev on localhost":        {dev, []string{"--http-addr", "localhost:0"}, ""},
		"dev on other name":       {dev, []string{"--http-addr", "localhost.example:0"}, "--dev serves loopback"},
		"open grpc":               {keyed, []string{"--grpc-addr", ":9090"}, "give --grpc-keys-file"},
		"open grpc by name":       {keyed, []string{"--grpc-addr", "pushd.example:9090"}, "give --grpc-keys-file"},
		"negative grpc":           {keyed, []string{"--grpc-max-connections", "-1"}, "--grpc-max-connections must not be negative"},
		"unlimited grpc":          {keyed, []string{"--grpc-max-connections", "0"}, ""},
		"keyed grpc":              {keyed, []string{"--grpc-addr", ":9090", "--grpc-keys-file", "k"}, ""},
		"open metrics":            {keyed, []string{"--metrics-addr", ":9091"}, "must be a loopback address"},
		"public http":             {keyed, []string{"--http-addr", ":443"}, ""},
		"bad http address":        {keyed, []string{"--http-addr", "8080"}, "--http-addr"},
		"bad grpc address":        {keyed, []string{"--grpc-addr", ""}, "--grpc-addr"},
		"nats and cluster addr":   {keyed, []string{"--nats-url", "nats://127.0.0.1:4222", "--cluster-addr", "127.0.0.1:6222"}, "--nats-url excludes"},
		"nats and peers":          {keyed, []string{"--nats-url", "nats://127.0.0.1:4222", "--cluster-peers", "nats://127.0.0.1:6222"}, "--nats-url excludes"},
		"bad nats url":            {keyed, []string{"--nats-url", "http://127.0.0.1"}, "NATS URL"},
		"nats off loopback":       {keyed, []string{"--nats-url", "nats://192.0.2.1:4222"}, "credentials"},
		"nats with credentials":   {keyed, []string{"--nats-url", "nats://u:p@192.0.2.1:4222"}, ""},
		"both nats urls":          {keyed, []string{"--nats-url", "nats://127.0.0.1:1", "--nats-url-file", "f"}, "not both"},
		"cluster without secret":  {keyed, []string{"--cluster-addr", "0.0.0.0:6222"}, "needs a secret"},
		"cluster peers off loop":  {keyed, []string{"--cluster-addr", "127.0.0.1:6222", "--cluster-peers", "nats://192.0.2.1:6222"}, "needs a secret"},
		"cluster with secret":     {keyed, []string{"--cluster-addr", "0.0.0.0:6222", "--cluster-secret-file", secretFile}, ""},
		"cluster on loopback":     {keyed, []string{"--cluster-addr", "127.0.0.1:0"}, ""},
		"both cluster secrets":    {keyed, []string{"--cluster-secret", "x", "--cluster-secret-file", secretFile}, "not both"},
		"peers without address":   {keyed, []string{"--cluster-peers", "nats://127.0.0.1:6222"}, "peers need a cluster address"},
		"bad origin":              {keyed, []string{"--allow-origin", "app.example"}, "origin"},
		"bad cookie name":         {keyed, []string{"--cookie-name", "a b"}, "cookie name"},
		"bad node name":           {keyed, []string{"--node-name", "a.b"}, "node name"},
		"log format":              {keyed, []string{"--log-format", "xml"}, "--log-format"},
		"log level":               {keyed, []string{"--log-level", "loud"}, "--log-level"},
		"small messages":          {keyed, []string{"--max-message-bytes", "10"}, "max message bytes"},
		"no rate":                 {keyed, []string{"--inbound-rate", "0"}, "inbound rate"},
		"idle before ping":        {keyed, []string{"--idle-timeout", "5s"}, "idle timeout"},
		"no handshake time":       {keyed, []string{"--handshake-timeout", "0s"}, "--handshake-timeout"},
		"short drain":             {keyed, []string{"--drain-timeout", "10ms", "--drain-window", "0s"}, "--drain-timeout"},
		"window longer than wait": {keyed, []string{"--drain-window", "31s"}, "--drain-window"},
		"linger without time":     {keyed, []string{"--channel-linger", "a:b"}, "--channel-linger"},
		"linger too long":         {keyed, []string{"--channel-linger", "a:b=6ms"}, "linger"},
		"linger pattern":          {keyed, []string{"--channel-linger", "a::b=1ms"}, "--channel-linger"},
		"accept rate":             {keyed, []string{"--accept-rate", "-1"}, "accept rate"},
		"lone history node":       {keyed, []string{"--history-node", "--node-name", "n"}, "a lone node is its own history node"},
		"external history node":   {keyed, []string{"--history-node", "--node-name", "n", "--nats-url", "nats://127.0.0.1:1"}, "keeps the history itself"},
		"nameless history node":   {keyed, []string{"--history-node", "--cluster-addr", "127.0.0.1:0"}, "--history-node needs --node-name"},
		"peerless history node":   {keyed, []string{"--history-node", "--node-name", "n", "--cluster-addr", "127.0.0.1:0"}, "--history-node needs --cluster-peers"},
		"history node of nothing": {keyed, []string{"--history-node", "--node-name", "n", "--cluster-addr", "127.0.0.1:0", "--data-dir", "none"}, "--history-node needs a --data-dir"},
		"history node":            {keyed, []string{"--history-node", "--node-name", "n", "--cluster-addr", "127.0.0.1:0", "--cluster-peers", "nats://127.0.0.1:1"}, ""},
		"no history":              {keyed, []string{"--data-dir", "none"}, ""},
		"rules of no history":     {keyed, []string{"--data-dir", "none", "--inbox-history", "1/1h"}, "--data-dir none"},
		"replicas of a lone node": {keyed, []string{"--history-replicas", "3"}, "--history-replicas is for an external NATS"},
		"replicas":                {keyed, []string{"--history-replicas", "3", "--nats-url", "nats://127.0.0.1:1"}, ""},
		"six replicas":            {keyed, []string{"--history-replicas", "6", "--nats-url", "nats://127.0.0.1:1"}, "1 to 5"},
		"small history":           {keyed, []string{"--history-max-bytes", "1000"}, "--history-max-bytes"},
		"negative history":        {keyed, []string{"--history-max-bytes", "-1"}, "--history-max-bytes"},
		"channel rule":            {keyed, []string{"--channel-history", "room:*=10/1h", "--channel-history", "log:**=off"}, ""},
		"channel without limit":   {keyed, []string{"--channel-history", "room:*"}, "must be PATTERN=MESSAGES/AGE"},
		"channel limit":           {keyed, []string{"--channel-history", "room:*=10"}, "--channel-history"},
		"channel pattern":         {keyed, []string{"--channel-history", "room::x=10/1h"}, "--channel-history"},
		"inbox limit":             {keyed, []string{"--inbox-history", "many/1h"}, "--inbox-history"},
		"inbox tenant":            {keyed, []string{"--inbox-history", "=1/1h"}, "--inbox-history"},
		"two inboxes":             {keyed, []string{"--inbox-history", "1/1h,2/1h"}, "is the second one"},
		"two inboxes of a tenant": {keyed, []string{"--inbox-history", "a=1/1h,a=2/1h"}, "is the second one"},
		"window without reserve":  {keyed, []string{"--drain-window", "3900ms", "--drain-timeout", "4s"}, "--drain-window"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readConfig(t, nil, slices.Concat(c.base, c.args)...)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && err == nil:
				t.Error("accepted")
			case c.want != "" && !strings.Contains(err.Error(), c.want):
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), "u:p")) {
				t.Errorf("error %q shows a secret", err)
			}
		})
	}
}

func TestAllRefusalsAtOnce(t *testing.T) {
	_, err := readConfig(t, nil, "--metrics-addr", ":1", "--grpc-addr", ":2", "--log-format", "xml", "--inbound-burst", "0")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"--metrics-addr", "--grpc-addr", "--log-format", "--jwt-secret-file", "inbound burst"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %s", err, part)
		}
	}
}

func TestNodeName(t *testing.T) {
	for name, c := range map[string]struct{ host, want string }{
		"plain":   {"web1", "web1-abc123"},
		"domain":  {"web1.example.com", "web1-abc123"},
		"strange": {"-wéb 1-", "w-b-1-abc123"},
		"empty":   {"", "node-abc123"},
		"nothing": {"...", "node-abc123"},
		"long":    {strings.Repeat("h", 100), strings.Repeat("h", 57) + "-abc123"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nodeName(c.host, "abc123"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if a, b := defaultNodeName(), defaultNodeName(); a == b {
		t.Errorf("two nodes of one host are both %s", a)
	}
}

func TestHelpNamesEveryFlagAndVariable(t *testing.T) {
	var visit func(cmd *cobra.Command, path []string)
	visit = func(cmd *cobra.Command, path []string) {
		r := runCommand(t, "", nil, append(path, "--help")...)
		if r.code != exitOK {
			t.Errorf("%v --help: code %d", path, r.code)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(r.out, "--"+f.Name) {
				t.Errorf("%v --help does not name --%s", path, f.Name)
			}
			for _, env := range f.Annotations[envAnnotation] {
				if !strings.Contains(r.out, "[$"+env+"]") {
					t.Errorf("%v --help does not name %s", path, env)
				}
			}
		})
		if cmd.Example == "" {
			t.Errorf("%v has no example", path)
		}
		for _, sub := range cmd.Commands() {
			visit(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	visit(newRootCommand(), nil)
}

// Every example must be a command line that its command takes.
func TestExamplesParse(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", " ")) {
			_, line, found := strings.Cut(strings.TrimSpace(line), "pushd ")
			if !found {
				continue
			}
			line, _, _ = strings.Cut(line, " < ")
			line, _, _ = strings.Cut(line, " > ")
			words := exampleWords(line)
			target, rest, err := newRootCommand().Find(words)
			if err != nil || target.Parent() == nil {
				t.Errorf("%s: no such command: %v", line, err)
				continue
			}
			if err := target.ParseFlags(rest); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if err := target.ValidateArgs(target.Flags().Args()); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand())
}

// exampleWords splits at spaces outside single quotes.
func exampleWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
