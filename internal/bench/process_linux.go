package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuClock is the kernel's number of the clock that counts what all threads of
// a process ran, in ns: see CPUCLOCK_SCHED in posix-timers.
const cpuClock = 2

// CPU returns the user and system time that the process has used.
func (p Process) CPU() (time.Duration, error) {
	if !p.known() {
		return 0, nil
	}
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.PID<<3|cpuClock), &t); err != nil { //nolint:gosec // How the kernel packs a process id.
		return 0, fmt.Errorf("CPU time of process %d: %w", p.PID, err)
	}
	return time.Duration(t.Nano()), nil
}

// RSS returns the memory that the process has resident, in bytes.
func (p Process) RSS() (int64, error) {
	if !p.known() {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", p.PID, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 2 || string(fields[0]) != "Rss:" {
			continue
		}
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", p.PID, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("memory of process %d: no Rss in smaps_rollup", p.PID)
}
