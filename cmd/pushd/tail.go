package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type tailFlags struct {
	url           string
	token         secret
	tokenFile     string
	join          []string
	notifications []string
	trust         trust
	count         int
	output        outputFormat
}

func newTailCommand() *cobra.Command {
	f := &tailFlags{output: outputText}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Connect as a client and print what arrives",
		Long: `Connect as a client and print what arrives, one message a line, until
interrupted. What is no message, such as why the connection ended, goes to
stderr.`,
		Example: `  pushd tail --token-file token.txt
  pushd tail --token-file token.txt --join tenant:acme:general --join public:news
  pushd tail --token-file token.txt --notifications orders,invoices --output json
  pushd tail --token-file token.txt --url wss://push.internal/ws --ca-file ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	addURLFlag(fs, &f.url)
	f.trust.addTo(fs)
	fs.Var(secretFlag{&f.token}, "token", "client token; better given by file")
	fs.StringVar(&f.tokenFile, "token-file", "", "file with the client token")
	fs.Var(listFlag{&f.join}, "join", "channel to join; repeatable")
	fs.Var(listFlag{&f.notifications}, "notifications", "notification types to subscribe to, comma-separated")
	fs.IntVar(&f.count, "count", 0, "end after this many messages; 0: never")
	addOutputFlag(fs, &f.output)
	bindEnvironment(fs, "token", "PUSHD_TOKEN")
	bindEnvironment(fs, "token-file", "PUSHD_TOKEN_FILE")
	return cmd
}

func addURLFlag(fs *pflag.FlagSet, url *string) {
	fs.StringVar(url, "url", "ws://127.0.0.1:8080/ws", "WebSocket URL of a node, ws:// or wss://")
	bindEnvironment(fs, "url", "PUSHD_URL")
}

func (f *tailFlags) run(cmd *cobra.Command) error {
	token, err := pickSecret("token", f.token, f.tokenFile)
	switch {
	case err != nil:
		return &usageError{err}
	case !token.isSet():
		return usagef("a token is missing: give --token-file (pushd token new makes one)")
	case !strings.HasPrefix(f.url, "ws://") && !strings.HasPrefix(f.url, "wss://"):
		return usagef("--url must begin with ws:// or wss://")
	case f.count < 0:
		return usagef("--count must not be negative, not %d", f.count)
	}
	trusted, err := f.trust.configIf(isSecure(f.url), "--url wss://")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := dialSocket(ctx, f.url, token, trusted)
	if err != nil {
		return err
	}
	defer c.close()
	if err := f.subscribe(c); err != nil {
		return err
	}
	// An interrupt says goodbye; the server's answer ends the reading.
	goodbye := context.AfterFunc(ctx, c.leave)
	defer goodbye()
	end := f.follow(c, cmd.OutOrStdout())
	var closed *closedError
	switch {
	case end == nil, ctx.Err() != nil:
		return nil
	case errors.As(end, &closed) && closed.code == ws.StatusNormalClosure:
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), closed)
		return nil
	default:
		return end
	}
}

// request is one message to the server.
type request struct {
	Type string `json:"type"`
	Data any    `json:"data"`
}

func (f *tailFlags) subscribe(c *socket) error {
	var requests []request
	for _, channel := range f.join {
		requests = append(requests, request{"join_channel", map[string]string{"channel": channel}})
	}
	if len(f.notifications) > 0 {
		requests = append(requests, request{"subscribe_notifications", map[string][]string{"types": f.notifications}})
	}
	for _, r := range requests {
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode %s: %w", r.Type, err)
		}
		if err := c.send(ws.NewTextFrame(text)); err != nil {
			return fmt.Errorf("send %s: %w", r.Type, err)
		}
	}
	return nil
}

// follow prints messages until the connection ends or enough have come.
func (f *tailFlags) follow(c *socket, w io.Writer) error {
	for seen := 0; f.count == 0 || seen < f.count; seen++ {
		text, err := c.next()
		if err != nil {
			return err
		}
		if err := f.print(w, text); err != nil {
			return err
		}
	}
	c.leave()
	for {
		if _, err := c.next(); err != nil {
			return nil //nolint:nilerr // The answer to our goodbye, or the end of our patience.
		}
	}
}

func (f *tailFlags) print(w io.Writer, text []byte) error {
	// In JSON, what is escaped here can stand in strings only, and means the same.
	line := printable(string(text))
	if f.output == outputText {
		line = readableMessage(text, time.Now())
	}
	if _, err := io.WriteString(w, line+"\n"); err != nil {
		return fmt.Errorf("print message: %w", err)
	}
	return nil
}

// readableMessage is one line: the time, the type, the data.
func readableMessage(text []byte, now time.Time) string {
	var m struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	clock := now.Format("15:04:05.000")
	if json.Unmarshal(text, &m) != nil || m.Type == "" {
		return clock + "  " + printable(string(text))
	}
	data := m.Data
	if data == nil {
		data = text // a raw message that keeps its content elsewhere
	}
	return fmt.Sprintf("%s  %-16s  %s", clock, printable(m.Type), printable(string(data)))
}

// dialSocket opens the connection. The token goes in a header, where no log of
// a proxy shows it. trusted is for wss://.
func dialSocket(ctx context.Context, url string, token secret, trusted *tls.Config) (*socket, error) {
	d := ws.Dialer{
		Timeout:   dialTimeout,
		TLSConfig: trusted,
		Header:    ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token.reveal()}}),
	}
	conn, buffered, _, err := d.Dial(ctx, url)
	if err != nil {
		return nil, explainTLS(fmt.Errorf("connect to %s: %w", url, err))
	}
	return newSocket(conn, buffered), nil
}
