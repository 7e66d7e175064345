package message

import "errors"

// What can go wrong when a message is published. Nothing was delivered when
// one of these comes back, but for an answer of NATS that did not come in time:
// then the message may have been.
var (
	// ErrUnavailable says that NATS is away or did not answer in time.
	ErrUnavailable = errors.New("messaging is not available")
	// ErrOverloaded says that a bounded queue on the way is full.
	ErrOverloaded = errors.New("too many messages are waiting")
	// ErrTooLarge says that the message is over the size limit.
	ErrTooLarge = errors.New("message is too large")
	// ErrKeyConflict says that the key was used for another message.
	ErrKeyConflict = errors.New("the key was used for another message")
	// ErrNotStored says that the message should be stored and there is no
	// history here, or that its target can't have one.
	ErrNotStored = errors.New("there is no history to store the message in")
	// ErrHistoryFull says that the history takes no more. What is not stored goes
	// on.
	ErrHistoryFull = errors.New("the history is full")
)
