package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports from firstPort on, so many, lie below those that kernels hand out
// by themselves, and above those that the README uses.
const (
	firstPort = 12_000
	ports     = 18_000
)

// FreeAddrs returns loopback addresses that were free a moment ago, for who must
// know an address before he listens, or listens there again. A port that the
// kernel chose would not do: until it is used, the kernel may give it to anybody
// else.
func FreeAddrs(ctx context.Context, count int) ([]string, error) {
	var lc net.ListenConfig
	var err error
	addrs, listeners := make([]string, 0, count), make([]net.Listener, 0, count)
	defer func() { // All stay open until all have an address.
		for _, ln := range listeners {
			_ = ln.Close()
		}
	}()
	for range 100 * count {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(ports))) //nolint:gosec // A port is no secret.
		var ln net.Listener
		if ln, err = lc.Listen(ctx, "tcp", addr); err != nil {
			continue
		}
		listeners = append(listeners, ln)
		if addrs = append(addrs, addr); len(addrs) == count {
			return addrs, nil
		}
	}
	return nil, fmt.Errorf("no free port from %d on: %w", firstPort, err)
}

// FreePort is FreeAddrs for one port.
func FreePort(ctx context.Context) (int, error) {
	addrs, err := FreeAddrs(ctx, 1)
	if err != nil {
		return 0, err
	}
	addr, err := net.ResolveTCPAddr("tcp", addrs[0])
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	return addr.Port, nil
}
