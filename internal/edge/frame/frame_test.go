package frame_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// readFrame reads a frame as a client does.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	payload := make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: h, Payload: payload}, err
}

// TestFrameRoundTrip reads what the server makes as a client does.
func TestFrameRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 200000} {
		payload := bytes.Repeat([]byte("x"), size)
		for op, newFrame := range map[ws.OpCode]func([]byte) *frame.Frame{
			ws.OpText: frame.Text, ws.OpBinary: frame.Binary,
			ws.OpPing: frame.Ping, ws.OpPong: frame.Pong,
		} {
			f := newFrame(payload)
			want := payload
			if op.IsControl() {
				want = payload[:min(size, 125)]
			}
			stream := bytes.NewReader(f.Bytes())
			got, err := readFrame(stream)
			if err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			if err := ws.CheckHeader(got.Header, ws.StateClientSide); err != nil {
				t.Errorf("size %d: %v", size, err)
			}
			if got.Header.OpCode != op || !got.Header.Fin || got.Header.Masked || !bytes.Equal(got.Payload, want) {
				t.Errorf("size %d, opcode %x: got %+v", size, byte(op), got.Header)
			}
			if stream.Len() != 0 || f.Len() != len(f.Bytes()) || f.Len() != ws.HeaderSize(got.Header)+len(want) {
				t.Errorf("size %d: length %d, %d bytes left", size, f.Len(), stream.Len())
			}
		}
	}
}

func TestFrameCopiesPayload(t *testing.T) {
	payload := []byte("hello")
	f := frame.Text(payload)
	payload[0] = 'j'
	if got := string(f.Bytes()); got != "\x81\x05hello" {
		t.Errorf("got %q", got)
	}
}

func TestFrameClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   ws.StatusCode
		reason string
		want   string
	}{
		{"code and reason", 4101, "slow_consumer", closeBody(4101, "slow_consumer")},
		{"code alone", 1000, "", closeBody(1000, "")},
		{"no code", 0, "lost", ""},
		{"1005", 1005, "lost", ""},
		{"1006", 1006, "lost", ""},
		{"1015", 1015, "lost", ""},
		{"longest", 1000, strings.Repeat("x", 123), closeBody(1000, strings.Repeat("x", 123))},
		{"cut", 1000, strings.Repeat("x", 124), closeBody(1000, strings.Repeat("x", 123))},
		{"cut at a character", 1000, strings.Repeat("€", 42), closeBody(1000, strings.Repeat("€", 41))},
		{"cut before a character", 1000, strings.Repeat("x", 121) + "€", closeBody(1000, strings.Repeat("x", 121))},
		{"long and no text", 1000, strings.Repeat("\x80", 200), closeBody(1000, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readFrame(bytes.NewReader(frame.Close(tt.code, tt.reason).Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if got.Header.OpCode != ws.OpClose || string(got.Payload) != tt.want {
				t.Errorf("got %q, want %q", got.Payload, tt.want)
			}
		})
	}
}

func TestFrameAllocations(t *testing.T) {
	payload := make([]byte, 1000)
	var f *frame.Frame
	if n := testing.AllocsPerRun(100, func() { f = frame.Text(payload) }); n > 2 {
		t.Errorf("%v allocations for %d bytes, want the frame and its bytes", n, f.Len())
	}
}

// FuzzClose checks the outbound close frame for any reason, and the inbound
// one for any body.
func FuzzClose(f *testing.F) {
	f.Add(uint16(1000), "bye")
	f.Add(uint16(1005), "")
	f.Add(uint16(4101), strings.Repeat("€", 60))
	f.Add(uint16(1000), "\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, code uint16, reason string) {
		body := frame.Close(ws.StatusCode(code), reason).Bytes()[2:]
		if len(body) > 125 || len(body) == 1 {
			t.Fatalf("body of %d bytes", len(body))
		}
		if len(body) > 0 {
			kept := string(body[2:])
			if !strings.HasPrefix(reason, kept) || utf8.ValidString(reason) && !utf8.ValidString(kept) {
				t.Fatalf("reason %q became %q", reason, kept)
			}
			if len(kept) < min(len(reason), 120) && utf8.ValidString(reason) {
				t.Fatalf("reason of %d bytes was cut to %d", len(reason), len(kept))
			}
		}
		if len(reason) > 123 {
			return
		}
		data := raw(closeF, closeBody(int(code), reason))
		want := reference(limits, data)
		for cut := range data {
			if got := feed(t, limits, data, cut); !got.equal(want) {
				t.Fatalf("cut at %d: got %v, want %v", cut, got, want)
			}
		}
	})
}

// FuzzParser compares the parser with the reference. The first bytes say where
// the rest is cut.
func FuzzParser(f *testing.F) {
	for i, s := range sequences() {
		f.Add([]byte{byte(i), byte(3 * i), 1}, s.data)
	}
	f.Fuzz(func(t *testing.T, steps, data []byte) {
		want := reference(limits, data)
		if got := feed(t, limits, data); !got.equal(want) {
			t.Fatalf("whole: got %v, want %v", got, want)
		}
		var cuts []int
		for at, i := 0, 0; len(steps) > 0; i++ {
			at += int(steps[i%len(steps)]) + 1
			if at >= len(data) {
				break
			}
			cuts = append(cuts, at)
		}
		if got := feed(t, limits, data, cuts...); !got.equal(want) {
			t.Fatalf("cut at %v: got %v, want %v", cuts, got, want)
		}
	})
}

// TestFeedAllocations checks that frames that are whole in what was read cost
// nothing, at any length and with control frames in between.
func TestFeedAllocations(t *testing.T) {
	one := join(raw(text, "hello"), raw(ping, "p"), raw(text, strings.Repeat("x", 290)), raw(binaryF, "b"))
	data := make([]byte, len(one))
	p := frame.NewParser(&limits)
	failed := errors.New("payload differs")
	on := func(m frame.Message) error {
		if m.Op == ws.OpPing && string(m.Payload) != "p" {
			return failed
		}
		return nil
	}
	n := testing.AllocsPerRun(100, func() {
		copy(data, one)
		if err := p.Feed(data, on); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
