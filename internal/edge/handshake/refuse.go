package handshake

import (
	"io"
	"net"
	"time"
)

const (
	// lingerTimeout bounds the writing of a refusal and the wait for the peer
	// to have read it.
	lingerTimeout = 500 * time.Millisecond
	// lingerBytes bounds what is read meanwhile. It covers what a client with
	// far too many cookies has in flight, and stops one that floods.
	lingerBytes = 64 << 10
)

// refuse answers conn with rej and returns rej. A socket closed with unread
// bytes is reset, and the reset makes the peer's kernel forget the answer: so
// the writing side is shut and the rest is read until the peer goes, within
// bounds.
func (h *Handshaker) refuse(conn net.Conn, rej *Rejection) error {
	h.metrics.rejected(rej.Reason)
	if err := conn.SetDeadline(time.Now().Add(lingerTimeout)); err != nil {
		return rej
	}
	if _, err := conn.Write(rej.response()); err != nil {
		return rej
	}
	if half, ok := conn.(closeWriter); ok {
		if err := half.CloseWrite(); err != nil {
			return rej
		}
	}
	// What comes is of no interest, nor is how it ends.
	_, _ = io.CopyN(io.Discard, conn, lingerBytes)
	return rej
}

// closeWriter is what TCP and TLS connections have beyond net.Conn.
type closeWriter interface{ CloseWrite() error }
