package message

// Position is where a stored message stands in the history. The zero Position
// stands for no place: the message was not stored.
type Position struct {
	// Epoch names one life of the history. Offsets of different epochs can't be
	// compared.
	Epoch string
	// Offset grows within a target, and is not contiguous: it counts what is
	// stored for all of them.
	Offset uint64
}

// IsZero reports whether p is no place.
func (p Position) IsZero() bool { return p.Offset == 0 }

// Accepted says what became of a message that was published.
type Accepted struct {
	// ID is the message's, or that of the first one with its key.
	ID ID
	// Position is zero for what was not stored.
	Position Position
	// Duplicate says that a message with the same key and the same content had
	// been accepted before: nothing was sent now.
	Duplicate bool
	// Receipt is nil unless one was asked for.
	Receipt *Receipt
}

// Storing says whether a message goes into the history of its target.
type Storing uint8

const (
	// StoreByRule leaves it to the rules.
	StoreByRule Storing = iota
	// StoreAlways stores what no rule stores. Only for users and channels.
	StoreAlways
	// StoreNever stores nothing.
	StoreNever
)
