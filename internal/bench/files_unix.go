//go:build darwin || linux

package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles is what a process needs beside the connections: the output, the
// calls, the poller and some more.
const spareFiles = 64

// checkFiles makes sure that this process may hold so many connections. Go
// raises the limit at the start of a process as far as it may.
func checkFiles(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if need := uint64(connections + spareFiles); limit.Cur < need { //nolint:gosec // Not negative.
		return fmt.Errorf("%d connections need %d open files, but this process may have %d: raise it with ulimit -n, or take fewer clients",
			connections, need, limit.Cur)
	}
	return nil
}
