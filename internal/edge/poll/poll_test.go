package poll_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

// patience bounds every wait.
const patience = time.Minute

// recorder is a handler that notes its calls. Its lock is that of the socket.
type recorder struct {
	sync.Mutex
	data     chan []byte
	writable chan struct{}
	closed   chan error

	// guarded by the lock
	ends int
	bad  string
}

func newRecorder() *recorder {
	return &recorder{data: make(chan []byte, 1024), writable: make(chan struct{}, 1024), closed: make(chan error, 2)}
}

// enter notes a call, which must come with the lock held.
func (r *recorder) enter() {
	if r.TryLock() {
		r.bad = "called without the lock"
		r.Unlock()
	}
	if r.ends > 0 {
		r.bad = "a call after Closed"
	}
}

func (r *recorder) Readable(data []byte) {
	r.enter()
	r.data <- bytes.Clone(data)
	clear(data) // it is the handler's
}

func (r *recorder) Writable() {
	r.enter()
	r.writable <- struct{}{}
}

func (r *recorder) Closed(err error) {
	r.enter()
	r.ends++
	r.closed <- err
}

func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.Lock()
	defer r.Unlock()
	if r.bad != "" {
		t.Error(r.bad)
	}
	if r.ends != 1 {
		t.Errorf("Closed came %d times", r.ends)
	}
}

// lockedSocket takes the lock around each call.
type lockedSocket struct {
	lock   sync.Locker
	socket poll.Socket
}

func (l lockedSocket) Start() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.socket.Start()
}

func (l lockedSocket) Write(bufs ...[]byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.socket.Write(bufs)
}

func (l lockedSocket) CloseWrite() error {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.socket.CloseWrite()
}

func (l lockedSocket) Close() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.socket.Close()
}

// attach gives server to a driver of its own, made by open.
func attach(t *testing.T, open opener, server net.Conn, pipelined string) (*recorder, lockedSocket, poll.Driver) {
	t.Helper()
	r := newRecorder()
	driver, err := open(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Lock()
	defer r.Unlock()
	s, err := driver.Attach(server, []byte(pipelined), r)
	if err != nil {
		t.Fatal(err)
	}
	return r, lockedSocket{r, s}, driver
}

// opener makes a driver.
type opener func(sync.Locker) (poll.Driver, error)

// drivers lists those of this system.
func drivers() map[string]opener {
	return map[string]opener{
		"best":      poll.New,
		"goroutine": func(lock sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(lock), nil },
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		var none T
		return none
	}
}

// take returns the next n bytes that were read.
func (r *recorder) take(t *testing.T, n int) []byte {
	t.Helper()
	var got []byte
	for len(got) < n {
		got = append(got, receive(t, r.data, "data")...)
	}
	return got
}

// transports are the ways in which a driver is tried; each makes the server's
// and the client's end of one connection.
func transports() map[string]func(*testing.T) (server, client net.Conn) {
	return map[string]func(*testing.T) (server, client net.Conn){
		"tcp": tcpPair,
		"stream": func(t *testing.T) (net.Conn, net.Conn) {
			t.Helper()
			server, client := tcpPair(t)
			return struct{ net.Conn }{server}, client // hides the descriptor
		},
		"accepted": acceptedPair,
		"awaited":  awaitedPair,
		"tls":      tlsPair,
		"accepted tls": func(t *testing.T) (net.Conn, net.Conn) {
			t.Helper()
			return secure(t, acceptedPair)
		},
		"pipe": func(t *testing.T) (net.Conn, net.Conn) {
			t.Helper()
			server, client := net.Pipe()
			t.Cleanup(func() { _ = client.Close() })
			return server, client
		},
	}
}

// tlsPair has done its handshake.
func tlsPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	return secure(t, tcpPair)
}

// secure does the handshake of TLS over what pair makes.
func secure(t *testing.T, pair func(*testing.T) (server, client net.Conn)) (server, client net.Conn) {
	t.Helper()
	rawServer, rawClient := pair(t)
	secured := poll.TLSServer(rawServer, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	asked := tls.Client(rawClient, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- asked.HandshakeContext(t.Context()) }()
	if err := secured.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, done, "handshake"); err != nil {
		t.Fatal(err)
	}
	return secured, asked
}

// certificate makes one that nobody trusts.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// attached is one connection under test.
type attached struct {
	*recorder
	socket lockedSocket
	client net.Conn
}

// everyTransport runs test with a fresh connection on each driver and
// transport.
func everyTransport(t *testing.T, pipelined string, test func(*testing.T, attached)) {
	t.Helper()
	for driver, open := range drivers() {
		for name, pair := range transports() {
			t.Run(driver+"/"+name, func(t *testing.T) {
				server, client := pair(t)
				r, s, d := attach(t, open, server, pipelined)
				test(t, attached{r, s, client})
				s.Close()
				d.Wait()
				d.Close()
				r.check(t)
			})
		}
	}
}

func TestReadsInOrderAfterStart(t *testing.T) {
	everyTransport(t, "first ", func(t *testing.T, a attached) {
		done := make(chan error, 1)
		go func() {
			_, err := a.client.Write([]byte("second"))
			done <- err
		}()
		select {
		case d := <-a.data:
			t.Fatalf("read %q before Start", d)
		default:
		}
		a.socket.Start()
		a.socket.Start()
		if got := a.take(t, len("first second")); string(got) != "first second" {
			t.Errorf("got %q", got)
		}
		if err := receive(t, done, "write"); err != nil {
			t.Error(err)
		}
	})
}

func TestPeerEnds(t *testing.T) {
	everyTransport(t, "", func(t *testing.T, a attached) {
		a.socket.Start()
		if err := a.client.Close(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, a.closed, "Closed"); err != nil {
			t.Errorf("got %v", err)
		}
		if _, err := a.socket.Write([]byte("x")); err == nil {
			t.Error("a write to a socket that is gone worked")
		}
	})
}

func TestCloseBeforeStart(t *testing.T) {
	everyTransport(t, "never seen", func(t *testing.T, a attached) {
		a.socket.Close()
		a.socket.Close()
		if err := receive(t, a.closed, "Closed"); err != nil {
			t.Errorf("got %v", err)
		}
		a.socket.Start()
		if len(a.data) != 0 {
			t.Error("something was read")
		}
	})
}

func TestWritesNeverBlockAndAllArrives(t *testing.T) {
	everyTransport(t, "", func(t *testing.T, a attached) {
		a.socket.Start()
		sent := make([]byte, 8<<20)
		_, _ = rand.Read(sent)
		short := make(chan struct{})
		got := make(chan []byte, 1)
		go func() { // reads only once a write was short
			<-short
			all := make([]byte, len(sent))
			if _, err := io.ReadFull(a.client, all); err != nil {
				all = nil
			}
			got <- all
		}()
		var told sync.Once
		for rest := sent; len(rest) > 0; {
			half := len(rest) / 2
			n, err := a.socket.Write(rest[:half], rest[half:])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if len(rest) == 0 {
				break
			}
			told.Do(func() { close(short) })
			receive(t, a.writable, "Writable")
		}
		if !bytes.Equal(receive(t, got, "the bytes"), sent) {
			t.Error("what arrived is not what was sent")
		}
	})
}

func TestCloseWhileWriteWaits(t *testing.T) {
	everyTransport(t, "", func(t *testing.T, a attached) {
		a.socket.Start()
		big := make([]byte, 16<<20)
		if n, err := a.socket.Write(big); err != nil || n == len(big) {
			t.Fatalf("wrote %d, %v", n, err)
		}
		a.socket.Close()
		if err := receive(t, a.closed, "Closed"); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseWriteAfterAll(t *testing.T) {
	for driver, open := range drivers() {
		for _, name := range []string{"tcp", "accepted", "awaited", "tls", "accepted tls", "halfStream"} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				pair := transports()[name]
				if name == "halfStream" {
					pair = tcpPair
				}
				server, client := pair(t)
				if name == "halfStream" {
					server = halfCloser{server}
				}
				r, s, d := attach(t, open, server, "")
				s.Start()
				if n, err := s.Write([]byte("good"), []byte("bye")); n != 7 || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
				if err := s.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(client); string(got) != "goodbye" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				if _, err := client.Write([]byte("still read")); err != nil {
					t.Fatal(err)
				}
				if got := r.take(t, 10); string(got) != "still read" {
					t.Errorf("got %q", got)
				}
				s.Close()
				d.Wait()
				d.Close()
				r.check(t)
			})
		}
	}
}

// halfCloser has no descriptor but can end its sending side.
type halfCloser struct{ net.Conn }

func (h halfCloser) CloseWrite() error { return h.Conn.(*net.TCPConn).CloseWrite() }

// TestChurn opens and closes sockets so fast that descriptors are used again
// at once. Each socket must get its own bytes and no others.
func TestChurn(t *testing.T) {
	const workers, rounds = 8, 200
	for name, open := range drivers() {
		t.Run(name, func(t *testing.T) {
			var lock sync.Mutex
			driver, err := open(&lock)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var server, clients sync.WaitGroup
			server.Go(func() { serveEchoes(ln, driver, &lock) })
			for w := range workers {
				clients.Go(func() {
					for i := range rounds {
						if err := askEcho(ln.Addr().String(), fmt.Sprintf("%d-%d|", w, i), i%2 == 0); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			clients.Wait()
			_ = ln.Close()
			server.Wait()
			driver.Wait()
			driver.Close()
		})
	}
}

// echo is a handler that sends back what it reads until it has seen '|'.
type echo struct{ socket poll.Socket }

func (e *echo) Readable(data []byte) {
	if n, err := e.socket.Write([][]byte{data}); err != nil || n != len(data) {
		e.socket.Close()
	}
}
func (e *echo) Writable()    {}
func (e *echo) Closed(error) {}

func serveEchoes(ln net.Listener, driver poll.Driver, lock sync.Locker) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		lock.Lock()
		e := &echo{}
		if e.socket, err = driver.Attach(nc, nil, e); err == nil {
			e.socket.Start()
		}
		lock.Unlock()
	}
}

// askEcho sends text and expects it back. An abrupt client resets its
// connection.
func askEcho(addr, text string, abrupt bool) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(nc, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
		return fmt.Errorf("sent %q, got %q: %w", text, got, err)
	}
	if abrupt {
		return nc.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

func TestReadsMuch(t *testing.T) {
	everyTransport(t, "", func(t *testing.T, a attached) {
		sent := make([]byte, 4<<20)
		_, _ = rand.Read(sent)
		done := make(chan error, 1)
		go func() {
			_, err := a.client.Write(sent)
			done <- err
		}()
		a.socket.Start()
		if got := a.take(t, len(sent)); !bytes.Equal(got, sent) {
			t.Error("what was read is not what was sent")
		}
		if err := receive(t, done, "write"); err != nil {
			t.Error(err)
		}
	})
}
