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
	// ReportTo is where delivery reports go; empty: none are wanted.
	ReportTo string
	// TraceParent is the W3C trace context; may be empty.
	TraceParent string
	// Payload is the JSON text that clients see, one object without CR or LF.
	Payload []byte
}
