package message

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// ID names a message or a connection: a ULID, 16 bytes, printed as 26
// characters of Crockford's base 32. The zero ID names nothing.
type ID ulid.ULID

// NewID returns a fresh ID. Its randomness is cryptographic.
func NewID() ID {
	var id ulid.ULID
	// Neither call fails before the year 10889: rand.Read never returns an
	// error, and the time fits in 48 bits until then.
	_ = id.SetTime(ulid.Timestamp(time.Now()))
	_, _ = rand.Read(id[6:])
	return ID(id)
}

// ParseID reads the text form strictly.
func ParseID(s string) (ID, error) {
	id, err := ulid.ParseStrict(s)
	if err != nil {
		return ID{}, fmt.Errorf("parse id: %w", err)
	}
	return ID(id), nil
}

// String returns the text form.
func (id ID) String() string { return ulid.ULID(id).String() }

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns when the ID was made, to the millisecond.
func (id ID) Time() time.Time { return ulid.ULID(id).Timestamp() }
