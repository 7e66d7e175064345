package poll

import (
	"crypto/tls"
	"net"
)

// TLSServer begins TLS on nc as the server. The handshake is the caller's to
// do, with deadlines as on any net.Conn. A driver takes over what is returned
// like a plain socket, and where it can it does so without a goroutine.
func TLSServer(nc net.Conn, config *tls.Config) *tls.Conn {
	return tls.Server(&swapConn{Conn: nc}, config)
}

// swapConn is what lies under a tls.Conn: a net.Conn while the handshake lasts,
// then whatever a driver puts in its place.
type swapConn struct {
	net.Conn
	// instead is nil until a driver took over.
	instead interface {
		Read(p []byte) (int, error)
		Write(p []byte) (int, error)
	}
}

// Read implements net.Conn.
func (c *swapConn) Read(p []byte) (int, error) {
	if c.instead != nil {
		return c.instead.Read(p)
	}
	return c.Conn.Read(p) //nolint:wrapcheck // For crypto/tls, which looks at it.
}

// Write implements net.Conn.
func (c *swapConn) Write(p []byte) (int, error) {
	if c.instead != nil {
		return c.instead.Write(p)
	}
	return c.Conn.Write(p) //nolint:wrapcheck // For crypto/tls, which looks at it.
}
