package conformance_test

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
	"unicode/utf8"
)

const (
	// patience bounds every wait but that for the end of the stream.
	patience = time.Minute
	// endsWithin bounds the time from the server's close frame to the end of
	// the stream.
	endsWithin = time.Second
)

// First bytes of frames: final, and with more to come.
const (
	text, moreText   = 0x81, 0x01
	bin, moreBin     = 0x82, 0x02
	cont, moreCont   = 0x80, 0x00
	closing          = 0x88
	ping, pong       = 0x89, 0x8A
	compressed, rsv2 = 0x40, 0x20 // bits of the first byte
)

// frame is a client's frame whose first byte is b0.
func frame(b0 byte, payload string) []byte { return begin(b0, len(payload), payload) }

// begin is a frame of which only part came of a payload of length bytes.
func begin(b0 byte, length int, part string) []byte {
	return masked(b0, length, part, [4]byte{0x37, 0xfa, 0x21, 0x3d})
}

func masked(b0 byte, length int, part string, key [4]byte) []byte {
	b := make([]byte, 0, 14+len(part))
	b = append(b, b0)
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(length))
	}
	b = append(b, key[:]...)
	body := make([]byte, len(part))
	subtle.XORBytes(body, []byte(part), bytes.Repeat(key[:], len(part)/4+1))
	return append(b, body...)
}

// closeBody is the payload of a close frame.
func closeBody(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// client is one connection, of raw bytes.
type client struct {
	nc net.Conn
	r  *bufio.Reader
	// deflates says that permessage-deflate was agreed on.
	deflates bool
}

// dial connects and upgrades. offer is what it says of extensions, empty for
// nothing; agreed is what the server said.
func dial(t *testing.T, addr, offer string) (c *client, agreed string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c = &client{nc: nc, r: bufio.NewReader(nc)}
	request := "GET /ws HTTP/1.1\r\nHost: " + addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if offer != "" {
		request += "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	c.within(t, patience)
	c.send(t, []byte(request+"\r\n"), 0)
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	defer res.Body.Close()
	// The nonce and its answer are those of RFC 6455, section 1.3.
	if accept := res.Header.Get("Sec-WebSocket-Accept"); res.StatusCode != http.StatusSwitchingProtocols || accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: status %d, accept %q", res.StatusCode, accept)
	}
	agreed = res.Header.Get("Sec-WebSocket-Extensions")
	c.deflates = agreed != ""
	return c, agreed
}

func (c *client) within(t *testing.T, d time.Duration) {
	t.Helper()
	if err := c.nc.SetDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
}

// send writes data in pieces of cut bytes, 0: at once.
func (c *client) send(t *testing.T, data []byte, cut int) {
	t.Helper()
	if cut == 0 {
		cut = max(1, len(data))
	}
	for len(data) > 0 {
		n := min(cut, len(data))
		if _, err := c.nc.Write(data[:n]); err != nil {
			t.Fatalf("write: %v", err)
		}
		data = data[n:]
	}
}

// answer is one frame of the server.
type answer struct {
	op      byte
	payload string // without the code and reason of a close frame
	code    int    // of a close frame
	// deflated says that it came compressed. As an expectation: it must.
	deflated bool
}

func hearText(s string) answer     { return answer{op: text & 15, payload: s} }
func hearBinary(s string) answer   { return answer{op: bin & 15, payload: s} }
func hearPong(s string) answer     { return answer{op: pong & 15, payload: s} }
func hearClose(code int) answer    { return answer{op: closing & 15, code: code} }
func hearDeflated(s string) answer { return answer{op: text & 15, payload: s, deflated: true} }

// String shortens long payloads.
func (a answer) String() string {
	shown := a.payload
	if len(shown) > 40 {
		shown = fmt.Sprintf("%s… %d bytes", shown[:40], len(shown))
	}
	return fmt.Sprintf("{op %d %q code %d deflated %v}", a.op, shown, a.code, a.deflated)
}

// read reads the next frame and holds it to the rules for servers. Pushd sends
// every message as one frame.
func (c *client) read() (answer, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return answer{}, err
	}
	a := answer{op: head[0] & 15, deflated: head[0]&compressed != 0}
	control := a.op >= 8
	length, err := c.length(head[1])
	switch {
	case err != nil:
		return a, err
	case head[0]&0x80 == 0:
		return a, fmt.Errorf("fragment %x", head)
	case head[0]&0x30 != 0, a.deflated && (control || !c.deflates):
		return a, fmt.Errorf("reserved bit in %x", head)
	case head[1]&0x80 != 0:
		return a, fmt.Errorf("masked frame %x", head)
	case control && length > 125:
		return a, fmt.Errorf("control frame of %d bytes", length)
	case length > 1<<27:
		return a, fmt.Errorf("frame of %d bytes", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return a, fmt.Errorf("payload: %w", err)
	}
	if a.deflated {
		if body, err = inflate(body); err != nil {
			return a, err
		}
	}
	a.payload = string(body)
	if a.op == closing&15 {
		return a.closing()
	}
	if a.op == text&15 && !utf8.Valid(body) {
		return a, fmt.Errorf("text %q", body)
	}
	return a, nil
}

// length reads what follows of a length that begins with b.
func (c *client) length(b byte) (uint64, error) {
	var more [8]byte
	switch b & 0x7f {
	case 126:
		_, err := io.ReadFull(c.r, more[6:])
		n := binary.BigEndian.Uint64(more[:])
		if err == nil && n < 126 {
			err = fmt.Errorf("length %d in 2 bytes", n)
		}
		return n, err
	case 127:
		_, err := io.ReadFull(c.r, more[:])
		n := binary.BigEndian.Uint64(more[:])
		if err == nil && n < 1<<16 {
			err = fmt.Errorf("length %d in 8 bytes", n)
		}
		return n, err
	default:
		return uint64(b & 0x7f), nil
	}
}

// closing takes a close frame apart.
func (a answer) closing() (answer, error) {
	body := a.payload
	a.payload = ""
	switch {
	case len(body) == 0:
		return a, nil
	case len(body) == 1 || !utf8.ValidString(body[2:]):
		return a, fmt.Errorf("close frame with %q", body)
	}
	a.code = int(binary.BigEndian.Uint16([]byte(body)))
	return a, nil
}
