package poll

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// streamIO serves a net.Conn that only has blocking calls: TLS, pipes. What is
// written is copied, and a goroutine that lasts as long as the write passes it
// on.
type streamIO struct {
	// set once
	conn        net.Conn
	lock        sync.Locker
	spawnLocked func(func()) bool // starts a goroutine of this socket, while it lasts

	// guarded by lock
	// idle is closed when the write under way has ended; nil: there is none.
	idle chan struct{}
	// half says that the sending side ends after the write under way.
	half bool
	err  error // of the last write; ends all later ones
}

func (s *streamIO) read(buffers *sync.Pool, use func([]byte)) error {
	buf := buffers.Get().(*[readSize]byte) //nolint:forcetypeassert // The pool holds nothing else.
	defer buffers.Put(buf)
	n, err := s.conn.Read(buf[:])
	if n > 0 {
		use(buf[:n])
	}
	if err != nil {
		return fmt.Errorf("read socket: %w", err)
	}
	return nil
}

// write takes over at most kernelQueue bytes, and none while a write is under
// way.
func (s *streamIO) write(bufs [][]byte) (int, error) {
	if s.err != nil || s.idle != nil {
		return 0, s.err
	}
	var taken []byte
	for _, b := range bufs {
		taken = append(taken, b[:min(len(b), kernelQueue-len(taken))]...)
	}
	s.beginLocked(taken)
	if s.err != nil {
		return 0, s.err
	}
	return len(taken), nil
}

// beginLocked writes b, which may be empty, in a goroutine.
func (s *streamIO) beginLocked(b []byte) {
	s.idle = make(chan struct{})
	began := s.spawnLocked(func() {
		var err error
		if len(b) > 0 {
			_, err = s.conn.Write(b)
		}
		s.end(err)
	})
	if !began {
		close(s.idle)
		s.idle, s.err = nil, net.ErrClosed
	}
}

// end finishes the write under way.
func (s *streamIO) end(err error) {
	s.lock.Lock()
	half := s.half
	s.lock.Unlock()
	if err == nil && half {
		err = halfClose(s.conn)
	}
	if err != nil {
		_ = s.conn.Close() // The reader tells.
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.err = errors.Join(s.err, err)
	close(s.idle)
	s.idle = nil
	if s.half && !half && s.err == nil {
		s.beginLocked(nil) // asked for while this ended
	}
}

func (s *streamIO) awaitWritable() {
	s.lock.Lock()
	idle := s.idle
	s.lock.Unlock()
	if idle != nil {
		<-idle
	}
}

// closeWrite ends the sending side once what was taken over is out.
func (s *streamIO) closeWrite() error {
	s.half = true
	if s.idle == nil && s.err == nil {
		s.beginLocked(nil)
	}
	return s.err
}

// halfClose ends the sending side of connections that can.
func halfClose(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("close sending side: %w", err)
	}
	return nil
}
