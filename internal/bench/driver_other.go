//go:build !linux

package bench

// newDriver starts the best driver of this system.
func newDriver(p *pool, sessions []*session, atOnce int) (driver, error) {
	return newStreams(p, sessions, atOnce)
}
