package frame

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// header64 is the header of a client's frame with a 64-bit length and no mask
// to speak of.
func header64(op ws.OpCode, fin bool, length int) []byte {
	b := []byte{byte(op), 0xFF}
	if fin {
		b[0] |= finBit
	}
	b = binary.BigEndian.AppendUint64(b, uint64(length))
	return append(b, 0, 0, 0, 0)
}

func TestIdleParserIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Parser{}); n > 32 {
		t.Errorf("a parser takes %d bytes", n)
	}
}

// TestBufferFollowsWhatCame declares a large message and sends it slowly.
func TestBufferFollowsWhatCame(t *testing.T) {
	const limit = 1 << 20
	for _, tt := range []struct {
		name string
		fin  bool
		size int
	}{
		{"final frame at the limit", true, limit},
		{"first fragment at the limit", false, limit},
		{"smaller final frame", true, 70_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewParser(&Limits{MaxMessage: limit, MaxFragments: 4})
			var delivered int
			on := func(m Message) error {
				delivered = len(m.Payload)
				return nil
			}
			if err := p.Feed(header64(ws.OpBinary, tt.fin, tt.size), on); err != nil {
				t.Fatal(err)
			}
			chunk := make([]byte, 700)
			most := 0
			for sent := 0; sent < tt.size; {
				n := min(len(chunk), tt.size-sent)
				if err := p.Feed(chunk[:n], on); err != nil {
					t.Fatal(err)
				}
				sent += n
				if p.side == nil {
					continue
				}
				most = max(most, cap(p.side.message))
				if have := cap(p.side.message); have > max(minBuffer, 2*sent) || have > limit+4096 {
					t.Fatalf("%d bytes held after %d", have, sent)
				}
			}
			if tt.fin {
				if delivered != tt.size || most > tt.size || p.side != nil {
					t.Errorf("delivered %d, held %d, side %v", delivered, most, p.side)
				}
			} else if len(p.side.message) != tt.size {
				t.Errorf("kept %d bytes", len(p.side.message))
			}
		})
	}
}

// TestMemoryIsGivenBack checks that nothing stays once nothing is incomplete,
// and that an error drops what was.
func TestMemoryIsGivenBack(t *testing.T) {
	frames := map[string][]byte{
		"text":       {0x81, 0x82, 0, 0, 0, 0, 'h', 'i'},
		"ping":       {0x89, 0x82, 0, 0, 0, 0, 'h', 'i'},
		"fragmented": {0x01, 0x81, 0, 0, 0, 0, 'h', 0x80, 0x81, 0, 0, 0, 0, 'i'},
	}
	for name, data := range frames {
		t.Run(name, func(t *testing.T) {
			p := NewParser(&Limits{MaxMessage: 10, MaxFragments: 2})
			on := func(Message) error { return nil }
			for i := range data {
				if err := p.Feed([]byte{data[i]}, on); err != nil {
					t.Fatal(err)
				}
				if last := i == len(data)-1; (p.side == nil) != last {
					t.Fatalf("after byte %d: side %v", i, p.side)
				}
			}
			if err := p.Feed(append([]byte{data[0], 0x81, 0, 0, 0, 0, 'x'}, 0xFF), on); err == nil {
				t.Fatal("no error")
			}
			if p.side.message != nil || p.side.control != nil {
				t.Error("an ended parser holds what was incomplete")
			}
		})
	}
}

// TestMark: a mark stays with what it was set for, through control frames, and
// the next thing that is incomplete has none.
func TestMark(t *testing.T) {
	const (
		begin  = "\x01\x81\x00\x00\x00\x00a"
		finish = "\x80\x81\x00\x00\x00\x00b"
		ping   = "\x89\x80\x00\x00\x00\x00"
	)
	p := NewParser(&Limits{MaxMessage: 1000, MaxFragments: 4})
	for _, step := range []struct {
		name, data string
		open       bool
		mark       uint32 // before it is set to 7
	}{
		{"whole frames", ping + ping, false, 0},
		{"half a header", ping[:1], true, 0},
		{"the rest", ping[1:], false, 0},
		{"a fragment", begin, true, 0},
		{"a ping between", ping, true, 7},
		{"half a ping", ping[:3], true, 7},
		{"one ends, one begins", ping[3:] + finish + begin, true, 0},
		{"the end", finish, false, 0},
	} {
		if err := p.Feed([]byte(step.data), func(Message) error { return nil }); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		mark := p.Mark()
		if (mark != nil) != step.open || mark != nil && *mark != step.mark {
			t.Fatalf("%s: mark %v", step.name, mark)
		}
		if held := p.Held(); held > 0 && !step.open {
			t.Errorf("%s: %d bytes are held", step.name, held)
		}
		if mark != nil {
			*mark = 7
		}
	}
	if err := p.Feed([]byte(begin), func(Message) error { return nil }); err != nil || p.Held() < 1 {
		t.Fatalf("%d bytes are held, %v", p.Held(), err)
	}
	if p.Discard(); p.Held() != 0 || p.Mark() != nil {
		t.Errorf("%d bytes are held in the end", p.Held())
	}
}
