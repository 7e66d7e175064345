package bench

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// answer is what a WebSocket server says first.
const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + upgradeAccept + "\r\n\r\n"

func testPool(clients int) *pool {
	return &pool{
		start: time.Now(), total: int64(clients),
		allReady: make(chan struct{}), failed: make(chan struct{}),
	}
}

func testClient() Client {
	return Client{Request: []byte("GET"), Join: []byte("JOIN"), Ready: []byte(`"channel_joined"`)}
}

func text(s string) ws.Frame { return ws.NewTextFrame([]byte(s)) }

func TestSessionSetUp(t *testing.T) {
	all := slices.Concat([]byte(answer), wire(t,
		text(`{"type":"connection"}`), text(`{"type":"channel_joined"}`), text(Message{Seq: 3, Bytes: 64}.JSON())))
	for size := 1; size <= len(all); size++ {
		p, s := testPool(1), newSession(testClient())
		c := newTally(1, 8, false)
		p.tally.Store(c)
		var sent []byte
		for chunk := range slices.Chunk(all, size) {
			reply, err := s.receive(chunk, p.now(), p)
			if err != nil {
				t.Fatalf("reads of %d: %v", size, err)
			}
			sent = append(sent, reply...)
		}
		select {
		case <-p.allReady:
		default:
			t.Fatalf("reads of %d: not ready", size)
		}
		if string(sent) != "JOIN" || c.deliveries.Load() != 1 || c.slots[3].got.Load() != 1 {
			t.Fatalf("reads of %d: sent %q, %d deliveries", size, sent, c.deliveries.Load())
		}
	}
}

func TestSessionAnswersPings(t *testing.T) {
	p, s := testPool(1), newSession(Client{Ready: []byte("ready")})
	reply, err := s.receive(wire(t, ws.NewPingFrame([]byte("one"))), 0, p)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(reply)
	h, err := ws.ReadHeader(r)
	if err != nil || h.OpCode != ws.OpPong || !h.Masked || h.Length != 3 || r.Len() != 3 {
		t.Fatalf("answered %q: %v", reply, err)
	}
	payload := reply[len(reply)-3:]
	if ws.Cipher(payload, h.Mask, 0); string(payload) != "one" {
		t.Errorf("the pong has %q", payload)
	}
}

func TestSessionFails(t *testing.T) {
	for _, c := range []struct {
		name, sent, want string
	}{
		{"refused", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n", "503 Service Unavailable"},
		{"not a WebSocket server", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "Sec-WebSocket-Accept"},
		{"a head without end", "HTTP/1.1 101 " + strings.Repeat("x", maxHead), "does not end"},
		{"closed", answer + "\x88\x05\x10\xcfbye", `4303 "bye"`},
		{"join denied", answer + string(wire(t, text(`{"type":"error","data":{"code":"permission_denied"}}`))), "permission_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newSession(testClient()).receive([]byte(c.sent), 0, testPool(1))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
