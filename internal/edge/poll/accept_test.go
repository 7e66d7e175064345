package poll_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/aegisx/pushd/internal/edge/poll"
)

// listen accepts on a free port until the end of the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := poll.Listen(tcp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// connect makes a connection that ln accepts.
func connect(t *testing.T, ln net.Listener) (server, client net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// acceptedPair is a connection that nobody has waited for yet.
func acceptedPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	return connect(t, listen(t))
}

// awaitedPair is a connection that somebody has waited for.
func awaitedPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	server, client = acceptedPair(t)
	if err := server.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d, %v", n, err)
	}
	if err := server.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// TestAcceptedIsNetConn: whoever gets a connection can use it as any other.
func TestAcceptedIsNetConn(t *testing.T) {
	ln := listen(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = connect(t, ln)
		return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, nil
	})
}

func TestAcceptedAddresses(t *testing.T) {
	server, client := acceptedPair(t)
	defer server.Close()
	if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("remote address %s, want %s", got, want)
	}
	if got, want := server.LocalAddr().String(), client.RemoteAddr().String(); got != want {
		t.Errorf("local address %s, want %s", got, want)
	}
}

// TestAcceptedCloses: one end of the stream is told, the other goes on; what is
// closed says so.
func TestAcceptedCloses(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (server, client net.Conn){
		"accepted": acceptedPair, "awaited": awaitedPair,
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			half, ok := server.(interface{ CloseWrite() error })
			if !ok {
				t.Fatal("no CloseWrite")
			}
			if _, err := io.WriteString(server, "last words"); err != nil {
				t.Error(err)
			}
			if err := half.CloseWrite(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(client); string(got) != "last words" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if _, err := io.WriteString(client, "an answer"); err != nil {
				t.Error(err)
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(server); string(got) != "an answer" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			_, read := server.Read(make([]byte, 1))
			_, wrote := server.Write([]byte("x"))
			for what, err := range map[string]error{
				"read": read, "write": wrote, "close": server.Close(), "close write": half.CloseWrite(),
				"set deadline": server.SetDeadline(time.Now()),
			} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestWritesDontMix: as with any net.Conn, what one Write sends stays together, also
// when it has to wait in the middle.
func TestWritesDontMix(t *testing.T) {
	const (
		size   = 256 << 10 // more than the kernel takes at once
		rounds = 60
	)
	letters := []byte("abcdefghijklmnop")
	ln := listen(t)
	for range rounds {
		server, client := connect(t, ln)
		var writing sync.WaitGroup
		begin := make(chan struct{})
		for _, letter := range letters {
			writing.Go(func() {
				p := bytes.Repeat([]byte{letter}, size)
				<-begin
				if n, err := server.Write(p); n != size || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			})
		}
		close(begin)
		got := make([]byte, size)
		for range letters {
			if _, err := io.ReadFull(client, got); err != nil {
				t.Error(err)
			}
			if bytes.Count(got, got[:1]) != size {
				t.Error("they are mixed")
			}
		}
		writing.Wait()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseAfterAttach: whoever had a connection before a driver may still close
// it, and must not hit the descriptor, which has another owner.
func TestCloseAfterAttach(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (server, client net.Conn){
		"accepted": acceptedPair, "awaited": awaitedPair,
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			r, s, d := attach(t, poll.New, server, "")
			_ = server.Close()
			if runtime.GOOS == "linux" { // elsewhere the connection is the socket
				s.Start()
				if _, err := io.WriteString(client, "still here"); err != nil {
					t.Error(err)
				}
				if got := r.take(t, len("still here")); string(got) != "still here" {
					t.Errorf("got %q", got)
				}
			}
			s.Close()
			d.Wait()
			d.Close()
			r.check(t)
		})
	}
}

// TestListenerCloses: who waits learns of it.
func TestListenerCloses(t *testing.T) {
	ln := listen(t)
	done := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		done <- err
	}()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, done, "end of Accept"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := net.DialTimeout("tcp", ln.Addr().String(), patience); err == nil {
		t.Error("somebody still listens")
	}
}

// TestListenTakesAnyListener: what is not TCP is accepted as it was.
func TestListenTakesAnyListener(t *testing.T) {
	own := &net.UnixListener{}
	if ln, err := poll.Listen(own); ln != net.Listener(own) || err != nil {
		t.Errorf("got %v, %v", ln, err)
	}
}
