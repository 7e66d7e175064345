// Package bench puts load on a pushd and measures it from outside: how many
// connections, messages and calls a second, after what time, and at what cost
// in CPU and memory of the server's process.
//
// # Scenarios
//
// [Connect] opens connections, [Idle] weighs them, [Fanout] sends each message
// to all of them, [Unicast] each to one at random; [Notify] calls for users who
// need not be there; [Recover] connects clients that have missed something. A
// scenario opens its own connections and closes them before it returns; one that
// is told to stop tells what it has measured. What it loads is a [Server]: [Pushd],
// or anything else that sends WebSocket frames, so that the same measure can be
// laid to a bare loop of writes.
//
// # Open and closed loop
//
// With a rate, messages are due at fixed times, whatever became of those
// before, and times are measured from when a message was due: a server that
// stalls is charged for all that had to wait. Without a rate, a fixed number
// of messages is in flight, and the next one is due when one has reached all
// its receivers. Connect does the same with connections: they are due at fixed
// times, or when one is ready.
//
// # Calls and commands
//
// A [Pushd] sends each message by a call or, with [Target].Stream, as a command of
// one stream. Either way a message counts as sent when its answer is there.
//
// # Delivery
//
// Every message is numbered. A scenario other than Notify fails unless each one
// reached as many receivers as it should, and Recover unless each client gets what
// it missed in order and once; a connection that ends before its time
// fails it at once, with the close code of the server.
//
// # Cost
//
// The generator usually shares its machine with the server. On Linux a few
// epoll loops hold all connections and read frame headers and no more; other
// systems have a goroutine per connection, and so has TLS, whose handshakes
// cost the generator about what they cost the server. Connections are closed by
// a reset, so that no port waits for its last packets to be forgotten.
package bench
