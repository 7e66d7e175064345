package handshake

import (
	"fmt"
	"net"
)

// Passthrough is the error of a request that is for another path than the
// WebSocket ones.
type Passthrough struct {
	// Conn is the socket; reading it starts at the request's first byte.
	Conn net.Conn
}

// Error implements error.
func (p *Passthrough) Error() string { return "not a request for a websocket path" }

// replayConn reads what was read already once more. As with any net.Conn
// there is one reader at a time.
type replayConn struct {
	net.Conn
	pending []byte
}

// Read implements net.Conn.
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		c.pending = nil
		n, err := c.Conn.Read(p)
		// Callers compare with io.EOF and look for net.Error: as it is.
		return n, err //nolint:wrapcheck // a net.Conn returns its own errors
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// CloseWrite shuts the writing side where the socket can.
func (c *replayConn) CloseWrite() error {
	half, ok := c.Conn.(closeWriter)
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("close write: %w", err)
	}
	return nil
}
