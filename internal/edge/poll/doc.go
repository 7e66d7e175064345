// Package poll tells connections when their sockets can be read and written.
// It knows bytes and sockets, nothing of WebSocket.
//
// A [Driver] takes an accepted socket, makes it a [Socket] and calls its
// [Handler]. [Epoll], for Linux, has one goroutine for all its sockets;
// [Goroutine] has a reader per socket, on every system and for every net.Conn.
// [New] chooses. [Listen] accepts sockets in a way that Epoll takes over with the
// fewest system calls.
//
// # Contract
//
// From Attach on the socket belongs to the driver. A driver is made with a
// lock, that of the handlers' owner: all methods of a Handler are called with
// the lock held, and the methods of a Socket must be. So their calls never
// overlap, and the owner needs no second lock.
//
// Nothing is read before Socket.Start. Closed is the last call, and comes
// exactly once for every attached socket. No method of a Socket calls the
// Handler: what has to be told is told by a goroutine of the driver, later.
//
// Writes never block. What the kernel does not take stays with the caller, who
// is told by Writable when to go on.
package poll
