package frame

import "github.com/gobwas/ws"

// Error says which rule a client broke. Its text is fixed: it never quotes
// what the client sent.
type Error struct {
	// Code closes the connection.
	Code ws.StatusCode
	// Reason is at most 123 bytes and goes with Code.
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

func protocolError(reason string) error {
	return &Error{Code: ws.StatusProtocolError, Reason: reason}
}

func tooBig(reason string) error {
	return &Error{Code: ws.StatusMessageTooBig, Reason: reason}
}

func badText(reason string) error {
	return &Error{Code: ws.StatusInvalidFramePayloadData, Reason: reason}
}
