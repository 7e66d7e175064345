package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// maxProbe bounds what is read of an HTTP probe's answer, in bytes.
const maxProbe = 4 << 10

func newHealthCommand() *cobra.Command {
	var c client
	var base string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check that a node serves; exit code 0 if it does, 1 if not",
		Long: `Check that a node serves, by the gRPC health service and, with --http, by
/readyz. The exit code is 0 if all that was asked says so, else 1.`,
		Example: `  pushd health
  pushd health --http http://127.0.0.1:8080
  pushd health --http https://push.internal --ca-file ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trusted, err := c.trust.configIf(c.TLS || isSecure(base), "--tls or --http https://")
			if err != nil {
				return err
			}
			if !c.TLS {
				c.trust = trust{} // It is for --http alone.
			}
			w := cmd.OutOrStdout()
			err = checkGRPC(cmd.Context(), &c, w)
			if base != "" {
				err = errors.Join(err, checkHTTP(cmd.Context(), &c, trusted, base, w))
			}
			return err
		},
	}
	c.addTo(cmd.Flags())
	cmd.Flags().StringVar(&base, "http", "", "also ask /readyz under this URL")
	return cmd
}

func checkGRPC(ctx context.Context, c *client, w io.Writer) error {
	return c.call(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			return err
		}
		state := answer.GetStatus()
		if state != grpc_health_v1.HealthCheckResponse_SERVING {
			return fmt.Errorf("gRPC at %s: %s", c.Server, strings.ToLower(state.String()))
		}
		_, err = fmt.Fprintf(w, "grpc %s serving\n", c.Server)
		return err
	})
}

func checkHTTP(ctx context.Context, c *client, trusted *tls.Config, base string, w io.Writer) error {
	target, err := url.JoinPath(base, "readyz")
	if err != nil || !strings.HasPrefix(target, "http") {
		return usagef("--http must be a URL like http://127.0.0.1:8080")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return usagef("--http: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusted}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return explainTLS(fmt.Errorf("HTTP at %s: %w", base, err))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxProbe))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("HTTP at %s: %w", base, err)
	}
	text := printable(strings.TrimSpace(string(body)))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP at %s: %s: %s", base, answer.Status, text)
	}
	_, err = fmt.Fprintf(w, "http %s %s\n", base, text)
	return err
}
