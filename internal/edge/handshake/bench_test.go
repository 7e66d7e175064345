package handshake_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// BenchmarkDo has the four ends that cost something. The socket itself
// allocates nothing once it is warm.
func BenchmarkDo(b *testing.B) {
	o := handshake.DefaultOptions()
	o.AllowOrigins = []string{"https://example.com"}
	h := newHandshaker(b, o)
	browser := upgradeHead().set(
		"Origin: https://example.com", "User-Agent: "+strings.Repeat("u", 110), "Accept-Encoding: gzip, deflate, br", "Accept-Language: en",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol: pushd.plain, pushd.jwt."+strings.Repeat("t", 400),
		"Cookie: "+strings.Repeat("name=value; ", 30),
	)
	for _, c := range []struct{ name, text string }{
		{"shortest", upgradeHead().String()},
		{"browser", browser.String()},
		{"large", browser.pad(8 << 10).String()},
		{"passthrough", browser.request("GET / HTTP/1.1").String()},
		{"refused", browser.set("Origin: https://evil.example").String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newScript(c.text)
			b.ReportAllocs()
			for b.Loop() {
				s.read, s.headRead = 0, 0
				s.out.Reset()
				if up, err := h.Do(s, time.Now()); up == nil && err == nil {
					b.Fatal("no end")
				}
			}
		})
	}
}
