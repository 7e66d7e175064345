//go:build !linux

package bench

import (
	"errors"
	"time"
)

// errNoCost says that the cost of another process can't be had on this system.
var errNoCost = errors.New("CPU and memory of another process are known on Linux only")

// CPU returns the user and system time that the process has used.
func (p Process) CPU() (time.Duration, error) {
	if !p.known() {
		return 0, nil
	}
	return 0, errNoCost
}

// RSS returns the memory that the process has resident, in bytes.
func (p Process) RSS() (int64, error) {
	if !p.known() {
		return 0, nil
	}
	return 0, errNoCost
}
