package auth

import (
	"errors"
	"fmt"
)

var (
	// ErrExpired says that a token is rightly signed and right in all else, but
	// its time is over.
	ErrExpired = errors.New("expired token")
	// ErrInvalid says that a token is not to be believed, for whatever cause.
	ErrInvalid = errors.New("invalid token")
)

// refuse returns an ErrInvalid with its cause. The cause is a text of this
// package; nothing that stood in the token may go into it.
func refuse(cause string) error { return fmt.Errorf("%w: %s", ErrInvalid, cause) }
