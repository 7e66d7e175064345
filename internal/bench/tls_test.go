package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// newCertificate makes a certificate for 127.0.0.1 and the pool that trusts it.
func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tlsServer is a fakeServer behind TLS, whose clients speak it with own
// settings.
type tlsServer struct {
	*fakeServer
	client *tls.Config
}

func (s *tlsServer) Client(i int) (Client, error) {
	c, err := s.fakeServer.Client(i)
	c.TLS = s.client
	return c, err
}

// startTLSServer starts a server whose clients trust it for host.
func startTLSServer(t *testing.T, host string) *tlsServer {
	t.Helper()
	cert, pool := newCertificate(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &tlsServer{
		startFakeServerOn(t, ln, nil),
		clientTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, host),
	}
}

func TestScenariosOverTLS(t *testing.T) {
	s := startTLSServer(t, "127.0.0.1")
	o := TrafficOptions{Clients: 10, PayloadBytes: 20_000, InFlight: 4, Duration: 50 * time.Millisecond}
	t.Run("connect", func(t *testing.T) {
		r, err := Connect(t.Context(), startTLSServer(t, "127.0.0.1"), ConnectOptions{Clients: 10, InFlight: 3, Rate: 500})
		if err != nil || r.Clients != 10 || r.Latency.P50 <= 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
	t.Run("fanout", func(t *testing.T) {
		r, err := Fanout(t.Context(), s, o)
		if err != nil || r.Messages == 0 || r.Deliveries != 10*r.Messages {
			t.Errorf("result %+v, %v", r, err)
		}
	})
}

func TestCertificatesAreVerified(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tls.Config)
		want   any
	}{
		"authority that is not trusted": {func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, new(x509.UnknownAuthorityError)},
		"other name":                    {func(c *tls.Config) { c.ServerName = "push.example.com" }, new(x509.HostnameError)},
	} {
		t.Run(name, func(t *testing.T) {
			s := startTLSServer(t, "127.0.0.1")
			c.change(s.client)
			_, err := Connect(t.Context(), s, ConnectOptions{Clients: 3, InFlight: 2})
			if !errors.As(err, c.want) {
				t.Errorf("error %v, want %T", err, c.want)
			}
		})
	}
	t.Run("unless that is not wanted", func(t *testing.T) {
		s := startTLSServer(t, "push.example.com")
		s.client.InsecureSkipVerify = true
		if _, err := Connect(t.Context(), s, ConnectOptions{Clients: 3, InFlight: 2}); err != nil {
			t.Error(err)
		}
	})
	t.Run("no TLS there", func(t *testing.T) {
		f := startFakeServerFor(t, func(_ *fakeServer, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		})
		s := &tlsServer{f, clientTLS(nil, "127.0.0.1")}
		var plain tls.RecordHeaderError
		if _, err := Connect(t.Context(), s, ConnectOptions{Clients: 3, InFlight: 2}); !errors.As(err, &plain) {
			t.Errorf("error %v", err)
		}
	})
}

// Closing the connections does not wait for servers that say nothing more, or
// never said anything.
func TestClosingDuringTheTLSHandshake(t *testing.T) {
	stop, show := stopAt(func(Progress) bool { return true })
	silent := startFakeServerFor(t, func(*fakeServer, net.Conn) {})
	s := &tlsServer{silent, clientTLS(nil, "127.0.0.1")}
	if _, err := Connect(t.Context(), s, ConnectOptions{Clients: 3, InFlight: 2, Stop: stop, Progress: show}); !errors.Is(err, ErrStopped) {
		t.Errorf("error %v", err)
	}
}

func TestCloseFrameOverTLS(t *testing.T) {
	s := startTLSServer(t, "127.0.0.1")
	_, err := Connect(t.Context(), s, ConnectOptions{Clients: 3, InFlight: 2, Hold: time.Hour, Progress: func(p Progress) {
		if p.Level {
			_ = ws.WriteFrame(s.conn(1), ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "drain")))
		}
	}})
	var closed *ClosedError
	if !errors.As(err, &closed) || closed.Code != 4000 {
		t.Errorf("error %v", err)
	}
}

func TestClientTLS(t *testing.T) {
	given := &tls.Config{MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	c := clientTLS(given, "push.example.com")
	if c.ServerName != "push.example.com" || c.MinVersion != tls.VersionTLS13 || c.ClientSessionCache != nil || c.InsecureSkipVerify {
		t.Errorf("got %+v", c)
	}
	if given.ServerName != "" || given.ClientSessionCache == nil {
		t.Error("what was given has changed")
	}
	if c := clientTLS(&tls.Config{ServerName: "other", MinVersion: tls.VersionTLS12}, "host"); c.ServerName != "other" {
		t.Errorf("name %s", c.ServerName)
	}
}
