package cluster

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// headerTime is when the stream stored what a copy is of.
	headerTime = "Nats-Time-Stamp"
	// leaderSlack is how much the clocks of two leaders of a stream may differ here.
	leaderSlack = 500 * time.Millisecond
)

// life tells copies of one epoch from those of the one before that are still on
// their way: their offsets mean nothing in it. Times are of the stream's clock.
type life struct {
	// before is the epoch before; empty: this node knew none.
	before string
	// created is when the stream was made, reached the newest offset that it had
	// at noted, when the epoch began here.
	created, noted time.Time
	reached        uint64
}

// newLife returns what is known of an epoch that follows before.
func newLife(before string, info *jetstream.StreamInfo) life {
	return life{before: before, created: info.Created, noted: info.TimeStamp, reached: info.State.LastSeq}
}

// admits reports whether a message at offset that was stored at that time can be of
// this life.
func (l *life) admits(offset uint64, at time.Time) bool {
	return !at.Before(l.created.Add(-leaderSlack)) && (offset <= l.reached || !at.Before(l.noted.Add(-leaderSlack)))
}

// epochOf returns the epoch of what came while epoch was the current one: that one
// or, for a while after it began, the one before.
func (s *store) epochOf(msg *nats.Msg, epoch string) string {
	if s == nil || epoch == "" || !isCopy(msg.Subject) {
		return epoch
	}
	e := s.epoch.Load()
	if e == nil || e.id != epoch || e.life.before == "" || time.Since(e.since) > quiet {
		return epoch
	}
	offset, ok := parseSequence(msg.Header.Get(jetstream.SequenceHeader))
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(headerTime))
	if !ok || err != nil || e.life.admits(offset, at) {
		return epoch
	}
	return e.life.before
}
