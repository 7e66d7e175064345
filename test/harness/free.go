package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// FreeAddrs returns so many loopback addresses that were free a moment ago, each
// another.
func FreeAddrs(ctx context.Context, count int) (addrs []string, err error) {
	var lc net.ListenConfig
	var open []net.Listener
	defer func() {
		// All stay open until all have an address.
		for _, ln := range open {
			err = errors.Join(err, ln.Close())
		}
	}()
	for range count {
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("free address: %w", err)
		}
		open = append(open, ln)
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}
