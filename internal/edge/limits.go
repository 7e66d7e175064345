package edge

import "time"

// excessGap and excessLimit tell a burst from a flood: refusals less than
// excessGap apart count as one excess, and an excess of excessLimit ends the
// connection.
const (
	excessGap   = time.Second
	excessLimit = 5 * time.Second
	// unitBytes is how much of a message costs as much as a small message.
	unitBytes = 64 << 10
)

// units returns what a message of n bytes costs.
func units(n int) int { return 1 + n/unitBytes }

// rate is what the limiters of all connections share.
type rate struct {
	// interval is the time one message costs.
	interval time.Duration
	// burst is how far ahead of its allowance a connection may be.
	burst time.Duration
}

func newRate(perSecond float64, burst int) rate {
	interval := time.Duration(float64(time.Second) / perSecond)
	return rate{interval: interval, burst: interval * time.Duration(burst)}
}

// limiter is one connection's state of the generic cell rate algorithm. Times
// are since the start of the hub.
type limiter struct {
	// due is when the allowance of all messages so far is used up.
	due time.Duration
	// excessSince and lastRefused bound the present excess.
	excessSince, lastRefused moment
}

// allow takes a message of so many units at now. One that is larger than the
// burst is allowed when nothing is owed.
func (l *limiter) allow(r rate, now time.Duration, units int) bool {
	due := max(l.due, now) + r.interval*time.Duration(units)
	if due-now <= r.burst || l.due <= now {
		l.due = due
		return true
	}
	refused := momentOf(now)
	if l.lastRefused == 0 || (refused-l.lastRefused).time() > excessGap {
		l.excessSince = refused
	}
	l.lastRefused = refused
	return false
}

// wait returns how long it takes until a small message is allowed; 0: it is now.
func (l *limiter) wait(r rate, now time.Duration) time.Duration {
	if l.due <= now {
		return 0
	}
	return max(0, l.due+r.interval-r.burst-now)
}

// charge takes more units for a message that was allowed: it has turned out to
// be larger.
func (l *limiter) charge(r rate, units int) { l.due += r.interval * time.Duration(max(0, units)) }

// flooding reports whether the present excess has gone on for too long.
func (l *limiter) flooding() bool { return (l.lastRefused - l.excessSince).time() >= excessLimit }
