package frame_test

import (
	"testing"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// Texts as in sections 6.2 to 6.23 and 7.5 of the Autobahn test suite.
var (
	validTexts = map[string]string{
		"ascii":                    "Hello",
		"two bytes":                "\u00b5\u00df\u00f6\u00e4",
		"kosme":                    "κόσμε",
		"first of 1 byte":          "\x00",
		"first of 2 bytes":         "\xc2\x80",
		"first of 3 bytes":         "\xe0\xa0\x80",
		"first of 4 bytes":         "\xf0\x90\x80\x80",
		"last of 1 byte":           "\x7f",
		"last of 2 bytes":          "\xdf\xbf",
		"last of 3 bytes":          "\xef\xbf\xbf",
		"last":                     "\xf4\x8f\xbf\xbf",
		"before the surrogates":    "\xed\x9f\xbf",
		"behind the surrogates":    "\xee\x80\x80",
		"replacement character":    "\xef\xbf\xbd",
		"no characters":            "\xef\xbf\xbe\xf0\x9f\xbf\xbf",
		"mixed, cut in many ways":  "a\u00e9\u20ac\U0001d11e\U0001f600z",
		"text before a byte order": "\ufeffx",
	}
	// The key is the text, the value the offset of the byte that makes it
	// invalid; an offset at the end means that the end does.
	invalidTexts = map[string]int{
		"κόσμε\xed\xa0\x80edited":  11,
		"\xc0\x80":                 0,
		"a\xc1\xbf":                1,
		"\xe0\x80\x80":             1,
		"\xe0\x9f\xbf":             1,
		"\xf0\x80\x80\x80":         1,
		"\xf0\x8f\xbf\xbf":         1,
		"\xf4\x90\x80\x80":         1,
		"\xf5\x80\x80\x80":         0,
		"\xf8\x88\x80\x80\x80":     0,
		"\xfc\x84\x80\x80\x80\x80": 0,
		"\xfe":                     0,
		"\xff":                     0,
		"\x80":                     0,
		"\xbf\xbf":                 0,
		"\xed\xa0\x80":             1,
		"\xed\xbf\xbf":             1,
		"\xed\xad\xbf\xed\xb0\x80": 1,
		"\xc2\xc2\x80":             1,
		"\xe2\x82a":                2,
		"\xf0\x9f\x98 ":            3,
		"\xc2":                     1,
		"\xe2\x82":                 2,
		"abc\xf0\x9f\x98":          6,
	}
)

func TestTextValid(t *testing.T) {
	for name, s := range validTexts {
		t.Run(name, func(t *testing.T) {
			want := ok("1:" + s)
			for i := range len(s) + 1 {
				for j := i; j <= len(s); j++ {
					data := join(raw(moreText, s[:i]), raw(moreCont, s[i:j]), raw(ping, ""), raw(cont, s[j:]))
					want.messages = []string{"9:", "1:" + s}
					if got := feed(t, limits, data); !got.equal(want) {
						t.Fatalf("fragments at %d and %d: got %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

// TestTextFailsAtOnce checks that the very byte that makes text invalid is
// refused: whatever the frame declares to follow, across cuts and fragments.
func TestTextFailsAtOnce(t *testing.T) {
	for s, at := range invalidTexts {
		t.Run(s, func(t *testing.T) {
			if got := feed(t, limits, raw(text, s)); !got.equal(fails(1007)) {
				t.Fatalf("whole: got %v", got)
			}
			if at == len(s) {
				return
			}
			endless := raw(text, s+"0123456789")
			endless = endless[:len(endless)-10-len(s)+at+1]
			if got := feed(t, limits, endless[:len(endless)-1]); !got.equal(ok()) {
				t.Fatalf("before the byte: got %v", got)
			}
			for i := range endless {
				if got := feed(t, limits, endless, i); !got.equal(fails(1007)) {
					t.Fatalf("cut at %d: got %v", i, got)
				}
			}
			for i := range at + 1 {
				data := join(raw(moreText, s[:i]), raw(moreCont, s[i:at+1]))
				if got := feed(t, limits, data); !got.equal(fails(1007)) {
					t.Fatalf("fragment at %d: got %v", i, got)
				}
			}
		})
	}
}

// TestTextEndsInACharacter cuts the last character of a text off, where only
// the end of the message tells.
func TestTextEndsInACharacter(t *testing.T) {
	for s, at := range invalidTexts {
		if at != len(s) {
			continue
		}
		t.Run(s, func(t *testing.T) {
			data := raw(text, s)
			for i := range data {
				if got := feed(t, limits, data, i); !got.equal(fails(1007)) {
					t.Fatalf("cut at %d: got %v", i, got)
				}
			}
			for i := range len(s) + 1 {
				data := join(raw(moreText, s[:i]), raw(ping, ""), raw(cont, s[i:]))
				if got := feed(t, limits, data); !got.equal(fails(1007, "9:")) {
					t.Fatalf("fragment at %d: got %v", i, got)
				}
			}
		})
	}
}

func TestTextOfOneMessageDoesNotReachTheNext(t *testing.T) {
	data := join(raw(text, "a"), raw(moreText, "\xe2\x82"), raw(cont, "\xac"), raw(text, "\xac"))
	if got, want := feed(t, limits, data), fails(1007, "1:a", "1:€"); !got.equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func BenchmarkFeed(b *testing.B) {
	for _, tt := range []struct {
		name string
		size int
	}{{"ping command", 45}, {"1KiB", 1024}, {"64KiB", 64 << 10}} {
		b.Run(tt.name, func(b *testing.B) {
			payload := make([]byte, tt.size)
			for i := range payload {
				payload[i] = 'x'
			}
			// Each turn flips the mask on and off.
			data := raw(text, string(payload))
			head := len(data) - tt.size
			p := frame.NewParser(&frame.Limits{MaxMessage: 1 << 20, MaxFragments: 1024})
			on := func(frame.Message) error { return nil }
			zero := data[head-4 : head]
			b.SetBytes(int64(tt.size))
			b.ReportAllocs()
			if err := p.Feed(data, on); err != nil {
				b.Fatal(err)
			}
			clear(zero) // the payload is plain now, and so it stays
			for b.Loop() {
				if err := p.Feed(data, on); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
