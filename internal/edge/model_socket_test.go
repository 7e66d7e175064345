package edge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/poll"
)

// recordDriver has sockets that take everything and keep the messages.
type recordDriver struct {
	lock    sync.Locker
	closing sync.WaitGroup
}

// recordConn is a connection that asks for an upgrade and then is a
// recordSocket, which it gives to attached.
type recordConn struct {
	upgradeConn

	attached chan *recordSocket // capacity 1
}

// newRecordConn sends head.
func newRecordConn(head string) recordConn {
	return recordConn{upgradeConn{strings.NewReader(head)}, make(chan *recordSocket, 1)}
}

func (d *recordDriver) Attach(nc net.Conn, _ []byte, h poll.Handler) (poll.Socket, error) {
	d.closing.Add(1)
	s := &recordSocket{driver: d, handler: h}
	nc.(recordConn).attached <- s
	return s, nil
}

func (d *recordDriver) Wait() { d.closing.Wait() }

func (d *recordDriver) Close() {}

type recordSocket struct {
	driver  *recordDriver
	handler poll.Handler
	once    sync.Once

	mu       sync.Mutex
	messages []string
	closed   bool
	// counted is how many messages came since count was called; they are not
	// kept.
	counted  int
	counting bool
}

func (s *recordSocket) Start() {}

// Write takes whole frames: the outbox offers no others to one who takes all. The
// answer to the upgrade, which comes first, is no message.
func (s *recordSocket) Write(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, b := range bufs {
		n += len(b)
		if bytes.HasPrefix(b, []byte("HTTP/")) {
			continue
		}
		if s.counting {
			s.counted++
			continue
		}
		body := b[2:]
		switch b[1] {
		case 126:
			body = b[4:]
		case 127:
			body = b[10:]
		}
		switch ws.OpCode(b[0] & 0x0F) {
		case ws.OpText:
			s.messages = append(s.messages, string(body))
		case ws.OpClose:
			s.messages = append(s.messages, closed(binary.BigEndian.Uint16(body)))
		}
	}
	return n, nil
}

// closed stands for a close frame.
func closed(code uint16) string {
	return fmt.Sprintf(`{"type":"closed","data":{"code":%d}}`, code)
}

// take returns what came since the last call.
func (s *recordSocket) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.messages
	s.messages = nil
	return got
}

// count makes s count what comes from now on, and returns how much came since
// the last call.
func (s *recordSocket) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.counted + len(s.messages)
	s.counting, s.counted, s.messages = true, 0, nil
	return n
}

// say has the server read a text message.
func (s *recordSocket) say(text string) {
	frame := ws.MaskFrame(ws.NewTextFrame([]byte(text)))
	data := must(ws.CompileFrame(frame))
	s.driver.lock.Lock()
	defer s.driver.lock.Unlock()
	s.mu.Lock()
	gone := s.closed
	s.mu.Unlock()
	if !gone {
		s.handler.Readable(data)
	}
}

func (s *recordSocket) CloseWrite() error {
	s.Close()
	return nil
}

func (s *recordSocket) Close() {
	s.once.Do(func() {
		go func() { // Wait waits for it
			defer s.driver.closing.Done()
			s.driver.lock.Lock()
			defer s.driver.lock.Unlock()
			s.mu.Lock()
			s.closed = true
			s.mu.Unlock()
			s.handler.Closed(nil)
		}()
	})
}
