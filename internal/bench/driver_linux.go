package bench

import (
	"runtime"
	"slices"
)

// newDriver starts the best driver of this system. Loops read sockets
// themselves, under which TLS has no place.
func newDriver(p *pool, sessions []*session, atOnce int) (driver, error) {
	if slices.ContainsFunc(sessions, func(s *session) bool { return s.client.TLS != nil }) {
		return newStreams(p, sessions, atOnce)
	}
	return newLoops(p, sessions, atOnce)
}

// loops is the driver that has few goroutines for all connections.
type loops []*loop

// newLoops deals the sessions to loops: one for every four processors, the
// others are left to the server and to the callers.
func newLoops(p *pool, sessions []*session, atOnce int) (driver, error) {
	count := min(max(1, runtime.GOMAXPROCS(0)/4), atOnce)
	all := make(loops, 0, count)
	shares := make([][]*session, count)
	for i, s := range sessions {
		shares[i%count] = append(shares[i%count], s)
	}
	for i := range count {
		share := atOnce / count
		if i < atOnce%count {
			share++
		}
		l, err := newLoop(p, shares[i], share)
		if err != nil {
			all.close() // none of them runs yet
			return nil, err
		}
		all = append(all, l)
	}
	for _, l := range all {
		l.running.Go(l.run) // close ends it and waits
	}
	return all, nil
}

// close implements driver.
func (all loops) close() {
	for _, l := range all {
		_ = l.close() // Closing such descriptors has no way to fail.
	}
}
