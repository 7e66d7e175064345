package e2e_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// sampleKey is a Sec-WebSocket-Key.
const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// goodbye is a close frame of a client: 1000, masked with zeros.
const goodbye = "\x88\x82\x00\x00\x00\x00\x03\xe8"

// upgradeRequest returns the head of a WebSocket request with more header
// lines.
func upgradeRequest(target string, more ...string) string {
	lines := append([]string{
		"GET " + target + " HTTP/1.1",
		"Host: 127.0.0.1",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + sampleKey,
	}, more...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// exchange writes what it is given and returns all that comes back until the
// server ends the connection.
func exchange(ctx context.Context, t *testing.T, addr, request string) string {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("read: %v after %q", err, answer)
	}
	return string(answer)
}
