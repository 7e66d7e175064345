package harness

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// Control returns a client of the Control API at addr; the caller closes the
// connection.
func Control(addr string, options ...grpc.DialOption) (pushdv1.ControlServiceClient, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient(addr, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, nil, fmt.Errorf("control API at %s: %w", addr, err)
	}
	return pushdv1.NewControlServiceClient(conn), conn, nil
}
