package edge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge"
)

// selfSigned makes a certificate that nobody trusts.
func selfSigned(t *testing.T) *tls.Config {
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
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}

// dialTLS opens a connection and returns it as a stream of frames.
func (e *env) dialTLS(t *testing.T, w who) io.ReadWriter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d := ws.Dialer{
		Header:    ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token(t, w)}}),
		TLSConfig: &tls.Config{InsecureSkipVerify: true},
	}
	conn, buffered, _, err := d.Dial(ctx, "wss://"+e.addr+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if buffered == nil {
		return conn
	}
	return struct {
		io.Reader
		io.Writer
	}{io.MultiReader(buffered, conn), conn}
}

func nextFrame(t *testing.T, r io.Reader) (ws.Header, string) {
	t.Helper()
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return h, string(body)
}

func TestTLS(t *testing.T) {
	config := selfSigned(t)
	onEachDriver(t, func(o *edge.Options) { o.TLS = config }, func(t *testing.T, e *env) {
		conn := e.dialTLS(t, who{user: "ann"})
		if _, text := nextFrame(t, conn); !strings.Contains(text, `"connection"`) {
			t.Fatalf("got %q", text)
		}
		if err := ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewTextFrame([]byte(`{"type":"ping"}`)))); err != nil {
			t.Fatal(err)
		}
		if _, text := nextFrame(t, conn); !strings.Contains(text, `"pong"`) {
			t.Fatalf("got %q", text)
		}
		// Many records, more than the kernel takes at once, and small ones among
		// them.
		big := `{"type":"big","data":"` + strings.Repeat("x", 300_000) + `"}`
		for range 3 {
			e.deliver(userTarget("acme", "ann"), big)
			e.deliver(userTarget("acme", "ann"), `{"type":"small"}`)
		}
		for range 3 {
			for _, want := range []string{big, `{"type":"small"}`} {
				if _, text := nextFrame(t, conn); text != want {
					t.Fatalf("got %d bytes, want %d", len(text), len(want))
				}
			}
		}
		if err := ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewBinaryFrame(nil))); err != nil {
			t.Fatal(err)
		}
		h, body := nextFrame(t, conn)
		if code, _ := ws.ParseCloseFrameData([]byte(body)); h.OpCode != ws.OpClose || code != ws.StatusUnsupportedData {
			t.Errorf("got %+v %d", h, code)
		}
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the close frame: %v", err)
		}
	})
}

// TestTLSAndHeadShareOneTimeout: who takes long for TLS has so much less for the
// request.
func TestTLSAndHeadShareOneTimeout(t *testing.T) {
	config := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		e := newQuietEnv(t, func(o *edge.Options) {
			o.TLS = config
			o.NewDriver, o.Handshake.Timeout = goroutines, 5*time.Second
		})
		ln := newChanListener()
		e.serve(t, ln)
		began := time.Now()
		pipe := ln.pipe("192.0.2.1:1")
		defer pipe.Close()
		timer := time.NewTimer(4 * time.Second)
		<-timer.C
		conn := tls.Client(pipe, &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len("HTTP/1.1 408"))
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 408" {
			t.Errorf("got %q, %v", answer, err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("refused after %s", took)
		}
	})
}

func TestTLSRefusals(t *testing.T) {
	config := selfSigned(t)
	e := newEnv(t, func(o *edge.Options) {
		o.TLS = config
		o.Handshake.Timeout = 200 * time.Millisecond
	})
	for name, hello := range map[string]string{
		"plain HTTP": "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
		"silent":     "",
		"stalled":    "\x16\x03\x01\x02\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, hello); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn)
			if strings.Contains(string(answer), "101") {
				t.Errorf("got %q", answer)
			}
		})
	}
	if got := e.metric(t, "pushd_edge_refused_total", "tls"); got != 3 {
		t.Errorf("counted %g", got)
	}
}
