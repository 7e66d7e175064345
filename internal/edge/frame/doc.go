// Package frame is the wire format of WebSocket (RFC 6455, section 5), on
// bytes alone: it knows no sockets.
//
// # Outbound
//
// A [Frame] is one whole message of the server, header and all, made once and
// shared by every connection that gets it. Nobody changes it, so it may be
// used from any goroutine.
//
// # Inbound
//
// A [Parser] turns what a socket read into messages. It belongs to one
// connection and must not be used concurrently. Messages come in the order of
// their bytes, and what comes does not depend on how the bytes were cut. A
// frame that is whole in what was read is unmasked and handed over in place;
// only what is incomplete is kept, so an idle connection holds no buffer.
//
// # Bounds
//
// A header that would make a message too large is refused before its payload
// arrives. Memory follows the bytes that came and not the length that was
// declared: at most twice what was received, and never more than the limit of
// a message and 4 KiB.
package frame
