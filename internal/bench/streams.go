package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// streamBuffer is what one read of a goroutine takes, in bytes.
const streamBuffer = 4 << 10

// streams is the driver for any system: a goroutine per connection.
type streams struct {
	pool    *pool
	slots   chan struct{} // one value for each connection that is being made
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newStreams(p *pool, sessions []*session, atOnce int) (driver, error) {
	timer, err := newPacer()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &streams{pool: p, slots: make(chan struct{}, atOnce), cancel: cancel}
	// All goroutines end with ctx; close waits for them.
	d.running.Go(func() { d.start(ctx, sessions, timer) })
	return d, nil
}

// start asks for all connections, each when it is due and there is room. It
// closes the timer.
func (d *streams) start(ctx context.Context, sessions []*session, timer *pacer) {
	defer timer.close()
	stop := context.AfterFunc(ctx, timer.close)
	defer stop()
	for _, s := range sessions {
		if err := timer.wait(s.due - d.pool.now()); err != nil {
			if ctx.Err() == nil {
				d.pool.fail(err)
			}
			return
		}
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		d.running.Go(func() {
			if err := d.serve(ctx, s); err != nil && ctx.Err() == nil {
				d.pool.fail(err)
			}
		})
	}
}

func (d *streams) close() {
	d.cancel()
	d.running.Wait()
}

// serve connects and reads until the connection ends, which is always an error.
func (d *streams) serve(ctx context.Context, s *session) error {
	s.begin(d.pool.now())
	dialer := net.Dialer{}
	if s.client.Source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: s.client.Source.AsSlice()}
	}
	socket, err := dialer.DialContext(ctx, "tcp", s.client.Addr.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// TLS has nothing to say at the end of a connection that is reset.
	defer func() { _ = socket.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	if tcp, ok := socket.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	if s.client.TLS == nil {
		return d.read(s, socket)
	}
	conn := tls.Client(socket, s.client.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return d.read(s, conn)
}

// read sets the session up and reads until the connection ends.
func (d *streams) read(s *session, conn net.Conn) error {
	reply := s.client.Request
	waiting := true
	buf := make([]byte, streamBuffer)
	for {
		if len(reply) > 0 {
			if _, err := conn.Write(reply); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		n, err := conn.Read(buf)
		if errors.Is(err, io.EOF) {
			return s.lost()
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if reply, err = s.receive(buf[:n], d.pool.now(), d.pool); err != nil {
			return err
		}
		if waiting && s.state == stateReady {
			waiting = false
			<-d.slots
		}
	}
}

// errLost says that the server ended a connection without a word, errUnanswered
// that it did so before it answered the upgrade.
var (
	errLost       = errors.New("the server ended a connection without a close frame")
	errUnanswered = fmt.Errorf("the server ended a connection before it answered: %w", io.ErrUnexpectedEOF)
)
