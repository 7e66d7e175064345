package poll

import "net"

// MaxBuffers bounds the buffers that one Write can pass on at once; more are
// taken, but a Write may end short after so many.
const MaxBuffers = 64

// Driver serves the sockets of one loop, whose lock it was made with.
type Driver interface {
	// Attach takes over nc, with the lock held. pipelined is what was already
	// read from it; h gets that first. On an error nc still belongs to the
	// caller.
	Attach(nc net.Conn, pipelined []byte, h Handler) (Socket, error)
	// Wait waits until every attached socket has had its Closed, without the
	// lock. No Attach may begin meanwhile.
	Wait()
	// Close ends the driver's own goroutines and waits for them. It comes after
	// Wait.
	Close()
}

// Handler takes what happens to one socket. Its methods are called with the
// lock held; they may give it up and take it again.
type Handler interface {
	// Readable takes what was read. data is the handler's to change, and only
	// until it returns.
	Readable(data []byte)
	// Writable says that the socket takes bytes again after a short Write.
	Writable()
	// Closed says that the socket is gone. err is nil when the peer ended the
	// stream or Close was called.
	Closed(err error)
}

// Socket is one attached socket. All methods need the lock.
type Socket interface {
	// Start begins to read. Later calls do nothing.
	Start()
	// Write writes bufs as far as that goes without waiting, and returns how
	// many bytes went. When that is less than all, Writable follows. bufs are
	// not kept, nor changed.
	Write(bufs [][]byte) (int, error)
	// CloseWrite ends the sending side; what comes is still read.
	CloseWrite() error
	// Close ends the socket. It does not wait for Closed. Later calls do
	// nothing.
	Close()
}
