package address

import (
	"errors"
	"fmt"
)

// Error says why a name was refused. It never quotes the name.
type Error struct {
	// What is the kind of name: "tenant", "user", "channel", "pattern",
	// "notification type" or "event type".
	What string
	// Reason is a short text for the person who sent the name.
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s %s", e.What, e.Reason) }

// ErrForeignTenant says that a channel names another tenant than the caller's.
var ErrForeignTenant = errors.New("channel belongs to another tenant")

var errUnnamed = errors.New("a name is missing")
