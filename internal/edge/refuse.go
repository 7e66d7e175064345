package edge

import (
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
)

const (
	// goodbyeTimeout bounds the close of a connection that was refused.
	goodbyeTimeout = time.Second
	// goodbyeDrain bounds what is read meanwhile, so that a reset does not
	// overtake the close frame.
	goodbyeDrain = 64 << 10
)

// goodbye returns the answer to an upgrade, which it may use up, and the close
// frame behind it.
func goodbye(answer []byte, code ws.StatusCode) []byte {
	return append(answer, frame.Close(code, closeReason(code)).Bytes()...)
}

// cutShort is sayGoodbye without the wait.
func cutShort(nc net.Conn, answer []byte, code ws.StatusCode) {
	if nc.SetDeadline(time.Now().Add(busyTimeout)) == nil {
		_, _ = nc.Write(goodbye(answer, code)) // as far as it goes
	}
	_ = nc.Close()
}

// sayGoodbye answers the upgrade of a socket that belongs to no loop, and closes
// it with a close frame, as browsers can't read an HTTP status. It blocks for at
// most goodbyeTimeout.
func sayGoodbye(nc net.Conn, answer []byte, code ws.StatusCode) {
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(goodbyeTimeout)); err != nil {
		return
	}
	if _, err := nc.Write(goodbye(answer, code)); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return
		}
	}
	// What comes is of no interest, nor is how it ends.
	_, _ = io.CopyN(io.Discard, nc, goodbyeDrain)
}
