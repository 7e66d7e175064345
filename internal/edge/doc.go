// Package edge holds the WebSocket connections of one node.
//
// # Lifetime
//
// A [Hub] is made first: it owns the loops and takes messages from the
// cluster. A [Server] accepts sockets, does the handshake in a short-lived
// goroutine and hands each connection to a loop for the rest of its life.
// Server.Drain ends the connections, Hub.Close the loops.
//
// # Ownership
//
// Every connection belongs to one loop. The loop's mutex guards all that the
// connection is: parser, outbound queue, memberships, timers. It is the one
// lock that is held across (non-blocking) socket writes, and it is given up
// every few hundred of them. All connections of one user live on one loop.
//
// # Order and delivery
//
// Messages for one target reach a connection in the order in which Deliver was
// called. A frame is built once per message and dialect and shared by all
// receivers. Everything that waits for one connection goes out in one write. A
// connection that was told channel_joined receives every message that the node
// delivers to that channel from then on, until it leaves, closes, or falls
// behind.
//
// Stored messages come in the order of their offsets, each once. One that did
// not reach the node is read from the history; if it can't be, connections that
// know of offsets are told by a gap. Never is something missing in silence for
// those.
//
// # Slow consumers
//
// The outbound queue of a connection is bounded in bytes, messages and age. One
// that would exceed a bound loses its queue and is closed with 4101; other
// connections don't notice. A loop whose inbox is full drops the message for
// that loop and counts it; for a stored message there is a gap besides. What
// waits for a connection that is behind, beyond a deadline that its publisher
// set, is not written.
//
// # Receipts
//
// A message that asks for a receipt is followed to the queue, the socket or the
// acknowledgement of each connection that it is for. What is known goes to the
// [Reporter], once, when no outcome can change any more or the publisher's time
// is over.
package edge
