package edge

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed authentications per address.
const (
	// failureInterval is how long one failure counts.
	failureInterval = 100 * time.Millisecond
	// failureBurst is how many failures an address may have at once.
	failureBurst = 100
	// failureAddresses bounds the addresses remembered; when it is reached,
	// those that have recovered are forgotten, and if that does not help, all.
	failureAddresses = 65536
)

// failureLimiter tells which addresses keep trying bad tokens. An IPv6 address
// counts by its /64. Loopback is exempt: behind a proxy on the same machine it is
// everybody's address.
type failureLimiter struct {
	mu sync.Mutex
	// due is when the failures of an address are forgotten.
	due map[netip.Prefix]time.Time
}

func newFailureLimiter() *failureLimiter {
	return &failureLimiter{due: make(map[netip.Prefix]time.Time)}
}

// record counts one failure of remote.
func (f *failureLimiter) record(remote net.Addr, now time.Time) {
	key, ok := failureKey(remote)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.due) >= failureAddresses {
		f.forget(now)
	}
	due := f.due[key]
	if due.Before(now) {
		due = now
	}
	f.due[key] = due.Add(failureInterval)
}

// blocked reports whether remote has failed too often of late.
func (f *failureLimiter) blocked(remote net.Addr, now time.Time) bool {
	key, ok := failureKey(remote)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due[key].Sub(now) > failureBurst*failureInterval
}

func (f *failureLimiter) forget(now time.Time) {
	for key, due := range f.due {
		if due.Before(now) {
			delete(f.due, key)
		}
	}
	if len(f.due) >= failureAddresses {
		clear(f.due)
	}
}

// failureKey returns the network that failures of remote count for.
func failureKey(remote net.Addr) (netip.Prefix, bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Prefix{}, false
	}
	width := 32
	if ip.Is6() {
		width = 64
	}
	key, err := ip.WithZone("").Prefix(width)
	return key, err == nil
}
