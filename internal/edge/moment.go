package edge

import "time"

// moment is a time since the start of the hub in half the memory: in steps of
// momentStep, for 8 years. 0: never.
type moment uint32

// momentStep is the grain of moments: fine for what is looked at once a tick.
const momentStep = time.Second / 16

// momentOf returns the first moment that is not before the time at.
func momentOf(at time.Duration) moment {
	return moment(max(1, (at+momentStep-1)/momentStep)) //nolint:gosec // See moment.
}

// time returns the same since the start of the hub.
func (m moment) time() time.Duration { return time.Duration(m) * momentStep }
