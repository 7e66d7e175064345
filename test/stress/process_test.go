package stress_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/aegisx/pushd/internal/bench"
	"github.com/aegisx/pushd/test/harness"
)

// procNumber returns a number of a file below /proc/PID that has lines of the
// form "Name: 123 kB".
func procNumber(t *testing.T, n *harness.Node, file, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", n.PID, file))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 2 || string(fields[0]) != name+":" {
			continue
		}
		v, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t.Fatalf("no %s in %s of the process", name, file)
	return 0
}

// readBytes returns how many bytes the process has read by system calls, from
// sockets too.
func readBytes(t *testing.T, n *harness.Node) int64 {
	t.Helper()
	return procNumber(t, n, "io", "rchar")
}

// openFiles returns the descriptors of the process.
func openFiles(t *testing.T, n *harness.Node) (count int) {
	t.Helper()
	count, _, err := files(n)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// files returns how many descriptors the process has open, and the highest.
func files(n *harness.Node) (count, highest int, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID))
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return 0, 0, err
		}
		highest = max(highest, fd)
	}
	return len(entries), highest, nil
}

// rss returns the memory that the process has resident, in bytes.
func rss(t *testing.T, n *harness.Node) int64 {
	t.Helper()
	v, err := bench.Process{PID: n.PID}.RSS()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// meter knows how far the memory of a process has risen at most.
type meter struct {
	node *harness.Node
	base int64
}

// startMeter begins a new peak.
func startMeter(t *testing.T, n *harness.Node) meter {
	t.Helper()
	// Where it is not allowed, the peak of before counts, which is the stricter
	// measure.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.PID), []byte("5"), 0)
	return meter{n, rss(t, n)}
}

// rise returns how far the peak is above the memory at the start, in bytes.
func (m meter) rise(t *testing.T) int64 {
	t.Helper()
	return procNumber(t, m.node, "status", "VmHWM")<<10 - m.base
}

// mib writes a size for people.
func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
