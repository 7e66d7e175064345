package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxAnswer bounds one answer of the Control API, in bytes: a full stats list
// of long names fits.
const maxAnswer = 16 << 20

// defaultServer is where "pushd serve" has its Control API unless told
// otherwise.
const defaultServer = "127.0.0.1:9090"

// client says how to reach the Control API of a node.
type client struct {
	Server  string
	KeyFile string
	// TLS says that Server speaks it, or what stands before it: pushd does not.
	TLS   bool
	trust trust
	// Timeout bounds the calls of within.
	Timeout time.Duration
	// dial connects to Server in place of gRPC, which resolves names anew. Nil:
	// gRPC does it.
	dial func(context.Context) (net.Conn, error)
}

func (c *client) addTo(fs *pflag.FlagSet) {
	c.addAddressTo(fs)
	c.trust.addTo(fs)
	fs.DurationVar(&c.Timeout, "timeout", 5*time.Second, "longest wait for an answer")
}

// addAddressTo declares no timeout, which is for callers of session alone, and
// nobody to trust.
func (c *client) addAddressTo(fs *pflag.FlagSet) {
	fs.StringVar(&c.Server, "server", defaultServer, "address of the Control API")
	fs.StringVar(&c.KeyFile, "key-file", "", "file with a bearer key for the Control API")
	fs.BoolVar(&c.TLS, "tls", false, "speak TLS to --server, which is then a load balancer or another proxy: pushd itself speaks none there")
	bindEnvironment(fs, "server", "PUSHD_SERVER")
	bindEnvironment(fs, "key-file", "PUSHD_KEY_FILE")
	bindEnvironment(fs, "tls", "PUSHD_TLS")
}

// call runs do with a connection and a deadline.
func (c *client) call(ctx context.Context, do func(context.Context, *grpc.ClientConn) error) error {
	return c.session(func(conn *grpc.ClientConn) error { return c.within(ctx, conn, do) })
}

// session runs do with a connection that it closes.
func (c *client) session(do func(*grpc.ClientConn) error) (err error) {
	trusted, err := c.trust.configIf(c.TLS, "--tls")
	if err != nil {
		return err
	}
	creds := insecure.NewCredentials()
	if c.TLS {
		creds = credentials.NewTLS(trusted)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	}
	if c.KeyFile != "" {
		key, err := readSecret(c.KeyFile)
		if err != nil {
			return err
		}
		options = append(options, grpc.WithUnaryInterceptor(withKey(key)), grpc.WithStreamInterceptor(withKeyOnStream(key)))
	}
	target := c.Server
	if c.dial != nil {
		target = "passthrough:///" + target // nothing is left to be resolved
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return usagef("--server %s: %w", c.Server, err)
	}
	defer func() {
		if closeErr := conn.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close connection: %w", closeErr)
		}
	}()
	return do(conn)
}

// within runs do under the client's timeout and makes its error readable.
func (c *client) within(ctx context.Context, conn *grpc.ClientConn, do func(context.Context, *grpc.ClientConn) error) error {
	if c.Timeout <= 0 {
		return usagef("--timeout must be positive, not %s", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := do(ctx, conn); err != nil {
		return c.explain(err)
	}
	return nil
}

// withKey sends a bearer key with each call.
func withKey(key secret) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(carryingKey(ctx, key), method, req, reply, cc, opts...)
	}
}

// withKeyOnStream sends a bearer key with each stream.
func withKeyOnStream(key secret) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(carryingKey(ctx, key), desc, cc, method, opts...)
	}
}

func carryingKey(ctx context.Context, key secret) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key.reveal())
}
