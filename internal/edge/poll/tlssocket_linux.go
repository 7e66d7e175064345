package poll

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

const (
	// recordBytes is what goes into one TLS record at most (RFC 8446 section
	// 5.1); more frames than one are gathered for it.
	recordBytes = 16 << 10
	// maxUnsent bounds what is encrypted and refused by the kernel, in bytes. Only
	// the answers that a peer can make TLS itself give come near it.
	maxUnsent = 256 << 10
	// recordsAtOnce bounds what is read of one socket before others have their
	// turn.
	recordsAtOnce = 4
)

// tlsSocket is a descriptor with TLS on it, run by an Epoll. It is the
// transport under the tls.Conn: reads that would wait fail with errWouldWait,
// which crypto/tls does not take for the end; writes are never short, as a
// record that is cut can't be mended: what the kernel refuses is kept.
type tlsSocket struct {
	epollSocket
	conn *tls.Conn

	// guarded by the driver's lock
	// unsent is encrypted and refused by the kernel. Write encrypts nothing more
	// while there is any, so of messages it holds at most recordBytes and what
	// encryption adds. What crypto/tls answers by itself comes behind, up to
	// maxUnsent in all.
	unsent []byte
	// half says that the sending side ends when unsent is out.
	half bool
	// broken is the error of a write; it ends the socket.
	broken error
}

// waitError is what a read says that would have to wait.
type waitError struct{}

func (waitError) Error() string   { return "would wait" }
func (waitError) Timeout() bool   { return true }
func (waitError) Temporary() bool { return true }

// errWouldWait is temporary in the sense of net.Error.
var errWouldWait net.Error = waitError{}

// descriptor reads without waiting.
type descriptor struct{ fd int }

// Read implements io.Reader. The error is errWouldWait when nothing is there.
func (d descriptor) Read(p []byte) (int, error) {
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(d.fd, p) })
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, errWouldWait
	case err != nil:
		return 0, fmt.Errorf("read socket: %w", err)
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

// errFlooded ends a peer that makes TLS answer without reading the answers.
var errFlooded = errors.New("too much is unsent")

// tlsTransport is the tlsSocket as crypto/tls sees it.
type tlsTransport struct {
	descriptor
	s *tlsSocket
}

// Write implements io.Writer.
func (t tlsTransport) Write(p []byte) (int, error) {
	s := t.s
	if s.broken != nil {
		return 0, s.broken
	}
	if len(s.unsent) > 0 {
		if len(s.unsent)+len(p) > maxUnsent {
			// A peer can make TLS itself answer, and not read the answers.
			s.broken = errFlooded
			return 0, s.broken
		}
		s.unsent = append(s.unsent, p...)
		return len(p), nil
	}
	n, _, errno := s.driver.writev(s.fd, [][]byte{p})
	if errno != 0 && !errors.Is(errno, unix.EAGAIN) {
		s.broken = fmt.Errorf("write socket: %w", errno)
		return 0, s.broken
	}
	s.unsent = append(s.unsent, p[n:]...)
	return len(p), nil
}

// attachTLS takes over conn if TLSServer made it over TCP; ok is false if not.
func (e *Epoll) attachTLS(conn *tls.Conn, pipelined []byte, h Handler) (_ Socket, ok bool, err error) {
	under, ok := conn.NetConn().(*swapConn)
	if !ok {
		return nil, false, nil
	}
	switch under.Conn.(type) {
	case *net.TCPConn, *lazyConn:
	default:
		return nil, false, nil
	}
	s := &tlsSocket{epollSocket: epollSocket{driver: e, handler: h, pipelined: pipelined}, conn: conn}
	if err := e.take(under.Conn, &s.epollSocket); err != nil {
		return nil, true, err
	}
	s.tls, s.more = s, true
	under.instead = tlsTransport{descriptor{s.fd}, s}
	return s, true, nil
}

// Write implements Socket.
func (s *tlsSocket) Write(bufs [][]byte) (int, error) {
	if s.closing || s.gone {
		return 0, net.ErrClosed
	}
	total, i, from := 0, 0, 0 // bufs[i][from:] is next
	for i < len(bufs) && len(s.unsent) == 0 {
		record := s.driver.record[:0]
		for i < len(bufs) && len(record) < recordBytes {
			n := min(len(bufs[i])-from, recordBytes-len(record))
			record = append(record, bufs[i][from:from+n]...)
			from += n
			if from == len(bufs[i]) {
				i, from = i+1, 0
			}
		}
		s.driver.record = record
		if _, err := s.conn.Write(record); err != nil {
			return total, fmt.Errorf("write TLS: %w", err)
		}
		total += len(record)
	}
	if len(s.unsent) > 0 {
		s.blocked = s.blocked || i < len(bufs)
		s.rearm()
	}
	return total, nil
}

// flush sends what is unsent. It reports whether nothing is left.
func (s *tlsSocket) flush() bool {
	n, want, errno := s.driver.writev(s.fd, [][]byte{s.unsent})
	if errno != 0 && !errors.Is(errno, unix.EAGAIN) {
		s.broken = fmt.Errorf("write socket: %w", errno)
		s.Close()
		return false
	}
	if n < want {
		s.unsent = s.unsent[n:]
		return false
	}
	s.unsent = nil
	if s.half {
		_ = unix.Shutdown(s.fd, unix.SHUT_WR)
	}
	return true
}

// CloseWrite implements Socket: it says goodbye in TLS and then in TCP.
func (s *tlsSocket) CloseWrite() error {
	if s.closing || s.gone {
		return net.ErrClosed
	}
	if err := s.conn.CloseWrite(); err != nil {
		return fmt.Errorf("close TLS: %w", err)
	}
	s.half = true
	if len(s.unsent) == 0 {
		return s.epollSocket.CloseWrite()
	}
	s.rearm()
	return nil
}

// read hands over what can be decrypted now. An error is the end.
func (s *tlsSocket) read(buf []byte) error {
	for range recordsAtOnce {
		n, err := s.conn.Read(buf)
		if n > 0 {
			s.handler.Readable(buf[:n])
		}
		var wait waitError
		switch {
		case s.closing || errors.Is(err, io.EOF):
			return io.EOF
		case errors.As(err, &wait):
			return nil
		case err != nil:
			return fmt.Errorf("read TLS: %w", err)
		}
	}
	// What crypto/tls holds is invisible to epoll: come again at once.
	s.more = true
	s.rearm()
	return nil
}
