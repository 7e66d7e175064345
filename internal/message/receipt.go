package message

import "time"

// Level is how far a message must have come before its outcome is final.
type Level uint8

const (
	// LevelNone asks for nothing: NATS having the message is enough.
	LevelNone Level = iota
	// LevelQueued asks for the connections that took it into their queue.
	LevelQueued
	// LevelWritten asks for those to whose sockets it was written: the kernel
	// has it.
	LevelWritten
	// LevelAcked asks for those whose clients acknowledged it.
	LevelAcked
)

// ReceiptRequest says what the publisher wants to know, and for how long it is
// ready to wait. The zero value asks for nothing.
type ReceiptRequest struct {
	Level   Level
	Timeout time.Duration
}

// Outcome is what became of a message at one connection.
type Outcome uint8

const (
	// OutcomeUnknown stands for: nothing final was heard in time. It is never a success.
	OutcomeUnknown Outcome = iota
	// OutcomeQueued stands for: in the connection's queue.
	OutcomeQueued
	// OutcomeWritten stands for: handed to the kernel.
	OutcomeWritten
	// OutcomeAcked stands for: acknowledged by the client.
	OutcomeAcked
	// OutcomeExcluded stands for: the connection was named in Exclude, or does not want
	// notifications of this type.
	OutcomeExcluded
	// OutcomeExpired stands for: the deadline had passed.
	OutcomeExpired
	// OutcomeSlow stands for: the connection was a slow consumer and is closed.
	OutcomeSlow
	// OutcomeGone stands for: the connection ended before.
	OutcomeGone
	// OutcomeOverloaded stands for: the node was over a bound of its own.
	OutcomeOverloaded

	// Outcomes is how many there are.
	Outcomes int = iota
)

// Counts counts connections by Outcome.
type Counts [Outcomes]uint64

// ReceiptRow is the outcome at one connection.
type ReceiptRow struct {
	Node       string
	Connection ID
	Outcome    Outcome
}

// NodeReport says what became of a message on one node.
type NodeReport struct {
	Counts Counts
	// Rows has one row per connection, for users only. Node is left empty.
	Rows []ReceiptRow
	// Final says that every connection is in the counts, and that no other report
	// comes.
	Final bool
}

// Receipt says who received a message.
type Receipt struct {
	Counts Counts
	// Asked and Answered count nodes.
	Asked, Answered int
	// Missing names the nodes that did not answer in time.
	Missing []string
	// Rows has one row per connection, for users only.
	Rows []ReceiptRow
}

// Complete reports whether every node answered with final outcomes.
func (r *Receipt) Complete() bool { return len(r.Missing) == 0 && r.Counts[OutcomeUnknown] == 0 }
