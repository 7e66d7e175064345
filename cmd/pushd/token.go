package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
)

const (
	// demoTTL is how long a token of the demo page lasts.
	demoTTL = time.Hour
	// maxToken bounds a token that is read from stdin, in bytes.
	maxToken = 64 << 10
)

// tokenSecret is the secret of the token commands, the same as serve's first.
type tokenSecret struct {
	direct secret
	path   string
}

func (s *tokenSecret) addTo(fs *pflag.FlagSet, usage string) {
	fs.Var(secretFlag{&s.direct}, "secret", usage+"; better given by file")
	fs.StringVar(&s.path, "secret-file", "", "file with that secret, its trailing line end ignored")
	bindEnvironment(fs, "secret", environmentName("jwt-secret"))
	bindEnvironment(fs, "secret-file", environmentName("jwt-secret-file"))
}

// read returns the secret; zero when none is given.
func (s *tokenSecret) read() (secret, error) {
	got, err := pickSecret("secret", s.direct, s.path)
	if err != nil {
		return secret{}, &usageError{err}
	}
	return got, nil
}

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make or look into client tokens",
		Example: `  pushd token new --secret-file secret.txt --tenant acme --user ann
  pushd token inspect < token.txt`,
	}
	requireSubcommand(cmd)
	cmd.AddCommand(newTokenNewCommand(), newTokenInspectCommand())
	return cmd
}

// tokenNewFlags are the claims of a new token as typed.
type tokenNewFlags struct {
	secret           tokenSecret
	tenant, user     string
	roles, channels  []string
	audience, issuer string
	ttl              time.Duration
}

func newTokenNewCommand() *cobra.Command {
	f := &tokenNewFlags{}
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Print a token signed with HS256",
		Long: `Print a client token signed with HS256: for tests and tools. In production
your own backend signs tokens for the users that it has logged in.`,
		Example: `  openssl rand -hex 32 > secret.txt
  pushd token new --secret-file secret.txt --tenant acme --user ann > token.txt
  pushd token new --secret-file secret.txt --tenant acme --user ann --role admin --channel 'orders:*' --ttl 24h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := f.secret.read()
			if err != nil {
				return err
			}
			if !key.isSet() {
				return usagef("a secret is missing: give --secret-file")
			}
			claims, err := f.claims(time.Now())
			if err != nil {
				return &usageError{err}
			}
			token, err := auth.Sign([]byte(key.reveal()), claims)
			if err != nil {
				return fmt.Errorf("sign token: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.tenant, "tenant", "", "tenant (required)")
	fs.StringVar(&f.user, "user", "", "user; without one the connection is an anonymous member of the tenant")
	fs.Var(listFlag{&f.roles}, "role", "role; repeatable")
	fs.Var(listFlag{&f.channels}, "channel", "pattern of channels to grant beyond the rules, * is one segment, ** one or more; repeatable")
	fs.StringVar(&f.audience, "audience", "", `"aud" of the token`)
	fs.StringVar(&f.issuer, "issuer", "", `"iss" of the token`)
	fs.DurationVar(&f.ttl, "ttl", time.Hour, "time until the token expires")
	f.secret.addTo(fs, "HMAC secret of the server, at least 32 bytes")
	return cmd
}

func (f *tokenNewFlags) claims(now time.Time) (auth.Claims, error) {
	var errs []error
	check := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	_, err := address.ParseTenantID(f.tenant)
	check("tenant", err)
	if f.user != "" {
		_, err := address.ParseUserID(f.user)
		check("user", err)
	}
	for _, pattern := range f.channels {
		_, err := address.ParsePattern(pattern)
		check("channel", err)
	}
	if f.ttl <= 0 {
		errs = append(errs, fmt.Errorf("--ttl must be positive, not %s", f.ttl))
	}
	return auth.Claims{
		Tenant: f.tenant, User: f.user, Roles: f.roles, Channels: f.channels,
		Audience: f.audience, Issuer: f.issuer,
		IssuedAt: now, ExpiresAt: now.Add(f.ttl),
	}, errors.Join(errs...)
}

// demoSigner returns what signs tokens for the demo page: with the first given
// secret, else with the random key.
func (c *config) demoSigner(devKey []byte) func(address.TenantID, address.UserID, []string) (string, error) {
	key := devKey
	if len(c.Auth.Secrets) > 0 {
		key = []byte(c.Auth.Secrets[0].reveal())
	}
	return func(t address.TenantID, u address.UserID, roles []string) (string, error) {
		now := time.Now()
		return auth.Sign(key, auth.Claims{
			Tenant: t.String(), User: u.String(), Roles: roles,
			Audience: c.Auth.Audience, Issuer: c.Auth.Issuer,
			IssuedAt: now, ExpiresAt: now.Add(demoTTL),
		})
	}
}

func newTokenInspectCommand() *cobra.Command {
	var key tokenSecret
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN|-]",
		Short: "Print what a token says",
		Long: `Print the header and the claims of a token as JSON. Without TOKEN, or with -,
the token is read from stdin, which keeps it out of the shell's history. With a
secret the token is also verified, and the exit code is 1 if it is not valid.`,
		Example: `  pushd token inspect < token.txt
  pushd token inspect --secret-file secret.txt - < token.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := key.read()
			if err != nil {
				return err
			}
			token, err := tokenArgument(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if err := printToken(cmd.OutOrStdout(), token, time.Now()); err != nil {
				return err
			}
			return verifyToken(cmd.ErrOrStderr(), token, s)
		},
	}
	key.addTo(cmd.Flags(), "verify the token with this HMAC secret")
	return cmd
}

func tokenArgument(args []string, stdin io.Reader) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxToken))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// printToken writes the parts of a token, unverified, and its times in words.
func printToken(w io.Writer, token string, now time.Time) error {
	header, claims, err := auth.Inspect(token)
	if err != nil {
		return fmt.Errorf("not a token: %w", err)
	}
	text, err := json.Marshal(struct {
		Header json.RawMessage   `json:"header"`
		Claims json.RawMessage   `json:"claims"`
		Times  map[string]string `json:"times,omitempty"`
	}{header, claims, tokenTimes(claims, now)})
	if err != nil {
		return fmt.Errorf("print token: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return fmt.Errorf("print token: %w", err)
	}
	out.WriteByte('\n')
	// Claims are foreign text that goes to a terminal: the line breaks of the
	// layout are ours, everything else is not.
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n"))); err != nil {
			return fmt.Errorf("print token: %w", err)
		}
	}
	return nil
}

// tokenTimes puts the time claims into words.
func tokenTimes(claims []byte, now time.Time) map[string]string {
	var all map[string]json.RawMessage
	if json.Unmarshal(claims, &all) != nil {
		return nil
	}
	times := make(map[string]string)
	for _, name := range []string{"iat", "nbf", "exp"} {
		var seconds float64
		if json.Unmarshal(all[name], &seconds) != nil || seconds < 0 || seconds > maxClaimTime {
			continue
		}
		at := time.Unix(int64(seconds), 0)
		times[name] = at.UTC().Format(time.RFC3339) + ", " + distance(at.Sub(now).Round(time.Second))
	}
	return times
}

// maxClaimTime is the end of the year 9999, in seconds since 1970.
const maxClaimTime = 253402300799

func distance(d time.Duration) string {
	switch {
	case d > 0:
		return "in " + shortDuration(d)
	case d < 0:
		return shortDuration(-d) + " ago"
	default:
		return "now"
	}
}

// verifyToken says on w whether the token is right, as far as the secret can
// tell.
func verifyToken(w io.Writer, token string, key secret) error {
	if !key.isSet() {
		_, _ = fmt.Fprintln(w, "Nothing was verified: anybody can write such a token. Give --secret-file to verify it.")
		return nil
	}
	v, err := auth.NewVerifier(auth.Options{Secrets: [][]byte{[]byte(key.reveal())}})
	if err != nil {
		return &usageError{err}
	}
	switch _, err := v.Verify(token); {
	case errors.Is(err, auth.ErrExpired):
		return errors.New("rightly signed, but expired")
	case err != nil:
		return fmt.Errorf("not valid: %w", err)
	default:
		_, _ = fmt.Fprintln(w, "Verified: rightly signed and valid now. Audience and issuer were not checked.")
		return nil
	}
}
