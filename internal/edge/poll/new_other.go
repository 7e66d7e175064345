//go:build !linux

package poll

import "sync"

// New returns the best driver of this system for sockets whose handlers share
// lock.
func New(lock sync.Locker) (Driver, error) { return NewGoroutine(lock), nil }
