package history

import (
	"errors"
	"strconv"

	"github.com/aegisx/pushd/internal/message"
)

// Query asks for stored messages of one target.
type Query struct {
	// After is the offset that they must exceed or, with Reverse, fall below. 0
	// with Reverse: from the newest.
	After uint64
	// Known is an offset up to which the caller knows messages of the target to be
	// stored; 0: none. The answer comes from a server that has got so far, which
	// the leader, too, may not have.
	Known uint64
	// Limit bounds their number, Bytes the sum of their payloads; one message
	// comes in any case. Both positive.
	Limit, Bytes int
	// Reverse asks for the newest first.
	Reverse bool
	// Newest, unless 0, says that the caller has no use for more than so many, the
	// newest ones. Where far more are behind After, the first page may leave out
	// older ones: its Gap is ReasonOverflow then, or ReasonTrimmed where that many
	// are not kept. Not with Reverse.
	Newest int
}

// Page answers a Query.
type Page struct {
	// Epoch is the one of all positions in the page. It is there for an empty
	// page too.
	Epoch string
	// Messages are in the order asked for. Each has its Position and no Previous.
	// What has expired is left out.
	Messages []*message.Message
	// More says that the limits cut the page.
	More bool
	// Gap is empty when it is proved that nothing between After and the first of
	// Messages was removed from the history (other than by a time to live of its
	// own). Otherwise it says why there may have been something. It means nothing
	// with Reverse.
	Gap Reason
}

// Reason says why messages are missing. The values are those of the protocol.
type Reason string

const (
	// ReasonExpired stands for: older than the history keeps.
	ReasonExpired Reason = "expired"
	// ReasonTrimmed stands for: pushed out by newer ones.
	ReasonTrimmed Reason = "trimmed"
	// ReasonEpochChanged stands for: the history they were in is gone.
	ReasonEpochChanged Reason = "epoch_changed"
	// ReasonOverflow stands for: more than what can be brought at once.
	ReasonOverflow Reason = "overflow"
)

// errOffset answers ParseOffset.
var errOffset = errors.New("an offset must be a decimal number")

// FormatOffset returns an offset as clients and services see it.
func FormatOffset(offset uint64) string { return strconv.FormatUint(offset, 10) }

// ParseOffset reads what FormatOffset made, and nothing else.
func ParseOffset(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || FormatOffset(n) != s {
		return 0, errOffset
	}
	return n, nil
}
