package frame_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// sequence is what a client sends, and what must come of it.
type sequence struct {
	name string
	data []byte
	want outcome
}

func ok(messages ...string) outcome { return outcome{messages: messages} }

func fails(code ws.StatusCode, messages ...string) outcome { return outcome{messages, code} }

func sequences() []sequence {
	long := strings.Repeat("é", 100)
	return []sequence{
		{"nothing", nil, ok()},
		{"text", raw(text, "hello"), ok("1:hello")},
		{"empty text", raw(text, ""), ok("1:")},
		{"text with 16-bit length", raw(text, long), ok("1:" + long)},
		{"binary is not text", raw(binaryF, "\xff\xfe"), ok("2:\xff\xfe")},
		{"ping, pong", join(raw(ping, "a"), raw(pong, "")), ok("9:a", "a:")},
		{"longest ping", raw(ping, long[:124]+"x"), ok("9:" + long[:124] + "x")},
		{"several", join(raw(text, "a"), raw(text, "b"), raw(text, "c")), ok("1:a", "1:b", "1:c")},
		{"message at the limit", raw(text, strings.Repeat("x", 300)), ok("1:" + strings.Repeat("x", 300))},

		{"fragments", join(raw(moreText, "he"), raw(moreCont, "ll"), raw(cont, "o")), ok("1:hello")},
		{"binary fragments", join(raw(moreBin, "\xff"), raw(cont, "\xff")), ok("2:\xff\xff")},
		{"empty fragments", join(raw(moreText, ""), raw(moreCont, ""), raw(cont, "")), ok("1:")},
		{"most fragments", join(raw(moreText, "a"), raw(moreCont, "b"), raw(moreCont, "c"), raw(cont, "d")), ok("1:abcd")},
		{"fragments at the limit", join(raw(moreText, long), raw(cont, long[:100])), ok("1:" + long + long[:100])},
		{"two fragmented messages", join(raw(moreText, "a"), raw(cont, "b"), raw(moreBin, "c"), raw(cont, "d")), ok("1:ab", "2:cd")},
		{"control between fragments", join(raw(moreText, "a"), raw(ping, "p"), raw(moreCont, "b"), raw(pong, "q"), raw(cont, "c")), ok("9:p", "a:q", "1:abc")},
		{"close between fragments", join(raw(moreText, "a"), raw(closeF, ""), raw(cont, "b")), ok("8:")},

		{"reserved bit 1", raw(0xC1, "a"), fails(1002)},
		{"reserved bit 2", raw(0xA1, "a"), fails(1002)},
		{"reserved bit 3", raw(0x91, "a"), fails(1002)},
		{"reserved data opcode", raw(0x83, "a"), fails(1002)},
		{"last reserved data opcode", raw(0x87, "a"), fails(1002)},
		{"reserved control opcode", raw(0x8B, "a"), fails(1002)},
		{"last reserved control opcode", raw(0x8F, "a"), fails(1002)},
		{"not masked", []byte{0x81, 1, 'a'}, fails(1002)},
		{"fragmented ping", raw(0x09, "a"), fails(1002)},
		{"fragmented close", raw(0x08, ""), fails(1002)},
		{"long ping", raw(ping, strings.Repeat("x", 126)), fails(1002)},
		{"long close", raw(closeF, closeBody(1000, strings.Repeat("x", 124))), fails(1002)},
		{"continuation of nothing", raw(cont, "a"), fails(1002)},
		{"continuation after the end", join(raw(moreText, "a"), raw(cont, "b"), raw(cont, "c")), fails(1002, "1:ab")},
		{"text inside text", join(raw(moreText, "a"), raw(text, "b")), fails(1002)},
		{"fragments inside fragments", join(raw(moreText, "a"), raw(moreBin, "b")), fails(1002)},

		{"16-bit length of 125", []byte{0x81, 0xFE, 0, 125}, fails(1002)},
		{"16-bit length of 126", append([]byte{0x81, 0xFE, 0, 126}, raw(text, strings.Repeat("y", 126))[4:]...), ok("1:" + strings.Repeat("y", 126))},
		{"64-bit length of 65535", []byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, fails(1002)},
		{"64-bit length of 65536", []byte{0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0}, fails(1009)},
		{"highest bit of the length", []byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0}, fails(1002)},
		{"longest length", []byte{0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, fails(1009)},
		{"too large by one, header only", []byte{0x81, 0xFE, 1, 45}, fails(1009)},
		{"fragments too large, header only", join(raw(moreText, long), []byte{0x80, 0x80 | 101}), fails(1009)},
		{"a message, then one too large", join(raw(text, "a"), []byte{0x81, 0xFE, 1, 45}), fails(1009, "1:a")},
		{"too many fragments", join(raw(moreText, ""), raw(moreCont, ""), raw(moreCont, ""), raw(moreCont, ""), raw(moreCont, "")), fails(1009)},
		{"too many fragments, the last final", join(raw(moreText, "a"), raw(moreCont, ""), raw(moreCont, ""), raw(moreCont, ""), raw(cont, "")), fails(1009)},

		{"close", join(raw(closeF, ""), raw(text, "late")), ok("8:")},
		{"close with garbage behind", join(raw(closeF, ""), []byte{0xFF, 0xFF, 0xFF}), ok("8:")},
		{"close with code and reason", raw(closeF, closeBody(4000, "bye – ")), ok("8:" + closeBody(4000, "bye – "))},
		{"longest close", raw(closeF, closeBody(1000, strings.Repeat("x", 123))), ok("8:" + closeBody(1000, strings.Repeat("x", 123)))},
		{"close of one byte", raw(closeF, "\x03"), fails(1002)},
		{"close with a bad reason", raw(closeF, closeBody(1000, "\xce\xba\xed\xa0\x80")), fails(1007)},
		{"close with a reason cut in a character", raw(closeF, closeBody(1000, "\xe2\x82")), fails(1007)},
		{"close with a bad code and a bad reason", raw(closeF, closeBody(999, "\xff")), fails(1002)},
	}
}

func TestParser(t *testing.T) {
	for _, s := range sequences() {
		t.Run(s.name, func(t *testing.T) {
			if got := feed(t, limits, s.data); !got.equal(s.want) {
				t.Errorf("got %v, want %v", got, s.want)
			}
			if got := reference(limits, s.data); !got.equal(s.want) {
				t.Errorf("reference got %v, want %v", got, s.want)
			}
		})
	}
}

func TestParserCuts(t *testing.T) {
	for _, s := range sequences() {
		t.Run(s.name, func(t *testing.T) {
			for i := range len(s.data) {
				for j := i; j < len(s.data); j += 1 + j/40 {
					if got := feed(t, limits, s.data, i, j); !got.equal(s.want) {
						t.Fatalf("cut at %d and %d: got %v, want %v", i, j, got, s.want)
					}
				}
			}
			every := make([]int, len(s.data))
			for i := range every {
				every[i] = i
			}
			if got := feed(t, limits, s.data, every...); !got.equal(s.want) {
				t.Fatalf("byte by byte: got %v, want %v", got, s.want)
			}
		})
	}
}

func TestParserCloseCodes(t *testing.T) {
	allowed := func(code int) bool {
		switch {
		case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
			return true
		}
		return false
	}
	for code := range 1 << 16 {
		want := ok("8:" + closeBody(code, ""))
		if !allowed(code) {
			want = fails(1002)
		}
		if got := feed(t, limits, raw(closeF, closeBody(code, ""))); !got.equal(want) {
			t.Errorf("code %d: got %v, want %v", code, got, want)
		}
	}
}

func TestParserErrorOfCallback(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
		want int
	}{
		{"in place", join(raw(text, "a"), raw(text, "stop"), raw(text, "b")), 2},
		{"assembled", join(raw(text, "a"), raw(moreText, "st"), raw(cont, "op"), raw(text, "b")), 2},
		{"control", join(raw(ping, "stop"), raw(text, "b")), 1},
		{"close", join(raw(closeF, closeBody(4999, "stop")), raw(text, "b")), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stop := errors.New("stop")
			seen := 0
			on := func(m frame.Message) error {
				seen++
				if strings.HasSuffix(string(m.Payload), "stop") {
					return stop
				}
				return nil
			}
			p := frame.NewParser(&limits)
			for range 2 {
				if err := p.Feed(join(tt.data), on); err != stop {
					t.Fatalf("got %v, want the callback's error", err)
				}
				if seen != tt.want {
					t.Fatalf("got %d messages, want %d", seen, tt.want)
				}
			}
			if err := p.Feed(nil, on); err != stop {
				t.Fatalf("without data: got %v", err)
			}
		})
	}
}

func TestParserIgnoresAfterClose(t *testing.T) {
	p := frame.NewParser(&limits)
	seen := 0
	on := func(frame.Message) error { seen++; return nil }
	for _, data := range [][]byte{raw(closeF, ""), raw(text, "a"), {0xFF, 0xFF}, nil} {
		if err := p.Feed(data, on); err != nil {
			t.Fatalf("got %v", err)
		}
	}
	if seen != 1 {
		t.Errorf("got %d messages, want the close alone", seen)
	}
}

func TestErrorTextIsFixed(t *testing.T) {
	for _, s := range sequences() {
		p := frame.NewParser(&limits)
		err := p.Feed(join(s.data), func(frame.Message) error { return nil })
		var wire *frame.Error
		if !errors.As(err, &wire) {
			continue
		}
		if wire.Reason == "" || len(wire.Reason) > 123 || wire.Error() != wire.Reason {
			t.Errorf("%s: reason %q", s.name, wire.Reason)
		}
	}
}
