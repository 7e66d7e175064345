package cluster

import (
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// copyPosition reads where the message stands that msg is a copy of. The offset
// is 0 for what is not stored. ok is false for what no stream of this version
// makes: a copy without a position, a position on what is no copy, or one that
// is of another subject.
func copyPosition(msg *nats.Msg) (offset, previous uint64, ok bool) {
	stored := isCopy(msg.Subject)
	if len(msg.Header) == 0 {
		return 0, 0, !stored
	}
	stream, source := sourceOf(msg.Subject)
	if stored || msg.Header.Get(jetstream.StreamHeader) != "" {
		if msg.Header.Get(jetstream.StreamHeader) != stream || msg.Header.Get(jetstream.SubjectHeader) != source {
			return 0, 0, false
		}
	}
	if !stored {
		return 0, 0, true
	}
	offset, ok = parseSequence(msg.Header.Get(jetstream.SequenceHeader))
	if !ok || offset == 0 {
		return 0, 0, false
	}
	previous, ok = parseSequence(msg.Header.Get(jetstream.LastSequenceHeader))
	if !ok || previous >= offset {
		return 0, 0, false
	}
	return offset, previous, true
}

// parseSequence reads a number as the server writes it.
func parseSequence(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}
