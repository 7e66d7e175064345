package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// writeCertificate writes a new self-signed pair for 127.0.0.1.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func serialOf(t *testing.T, c *certificates) int64 {
	t.Helper()
	cert, err := c.config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.Int64()
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	var out lockedBuffer
	c := &config{TLS: tlsConfig{certFile, keyFile}}
	certs, err := c.loadCertificates(slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { certs.watch(ctx, time.Millisecond) })
	defer watching.Wait()
	defer cancel()

	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return strings.Contains(out.String(), "not loaded") })
	if got := serialOf(t, certs); got != 1 {
		t.Errorf("serves %d after a broken file", got)
	}
	writeCertificate(t, certFile, keyFile, 2)
	waitFor(t, func() bool { return serialOf(t, certs) == 2 })
	waitFor(t, func() bool { return strings.Contains(out.String(), "loaded anew") })
}

// waitFor polls for what nothing announces.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 7)
	r, b, _ := startNode(t, "--tls-cert-file", certFile, "--tls-key-file", keyFile)
	conn, err := tls.Dial("tcp", b.HTTP, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 7 {
		t.Errorf("serial %d", got)
	}
	if _, err := conn.Write([]byte("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Errorf("got %q, %v", answer, err)
	}
	r.stop()
	if end := r.end(t); end.code != exitOK {
		t.Errorf("ended with %+v", end)
	}
}

func TestTLSFilesAreChecked(t *testing.T) {
	env := variables{"PUSHD_JWT_SECRET": testSecret}
	missing := filepath.Join(t.TempDir(), "none.pem")
	for name, args := range map[string][]string{
		"cert alone": {"--tls-cert-file", missing},
		"key alone":  {"--tls-key-file", missing},
		"no files":   {"--tls-cert-file", missing, "--tls-key-file", missing},
	} {
		r := runCommand(t, "", env, append([]string{"serve", "--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"}, args...)...)
		if r.code != exitUsage || !strings.Contains(strings.ToLower(r.err), "tls") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
