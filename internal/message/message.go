package message

import (
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// Message is one message for one target. Whoever made it gives it up when it
// is published: from then on nobody changes it, and the payload bytes are
// shared by all receivers.
type Message struct {
	// ID names the message.
	ID ID
	// Target says who receives it.
	Target address.Target
	// NotificationType limits a user's notification to the connections that
	// want this type; empty: all of them. Only with a user target.
	NotificationType string
	// Exclude is a connection that must not receive the message; zero: none.
	Exclude ID
	// AcceptedAt is when pushd took the message.
	AcceptedAt time.Time
	// Deadline is when it must no longer be delivered; zero: never.
	Deadline time.Time
	// Transit says that the deadline only bounds the way to the edge: what is in a
	// connection's queue by then stays there. Set by the cluster, on what had no
	// deadline.
	Transit bool
	// Key names the message for the publisher: a second one with the same key in
	// the same tenant within two minutes is not sent. Empty: none. At most 64
	// bytes.
	Key string
	// Store says whether the message is kept.
	Store Storing
	// FromClient says that a client sent it, as a channel_message.
	FromClient bool
	// Receipt says what the publisher wants to know.
	Receipt ReceiptRequest
	// ReportTo is where delivery reports go; empty: none are wanted. Set by the
	// cluster.
	ReportTo string
	// Position is where the message is stored. Set by the cluster.
	Position Position
	// Previous is the offset of the message stored before for the same target;
	// 0: none is kept. Set by the cluster on what comes live.
	Previous uint64
	// TraceParent is the W3C trace context; may be empty.
	TraceParent string
	// Payload is the JSON text that clients see, one object without CR or LF.
	Payload []byte
}
