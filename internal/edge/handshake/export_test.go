package handshake

// What the tests outside need to know of the inside.
const (
	LingerTimeout = lingerTimeout
	LingerBytes   = lingerBytes
)

// Reasons lists every Reason.
func Reasons() []Reason { return reasons() }
