package handshake_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		opts handshake.Options
		want []string // each is in the error; nil: no error
	}{
		{"zero", handshake.Options{}, nil},
		{"defaults", handshake.DefaultOptions(), nil},
		{"least", handshake.Options{MaxHeadBytes: 512, MaxHeaders: 1, Timeout: 1}, nil},
		{"most", handshake.Options{MaxHeadBytes: 1 << 20, MaxHeaders: 1024, Timeout: time.Hour}, nil},
		{"origins", handshake.Options{AllowOrigins: []string{
			"https://a", "HTTP://A.B:1", "null", "https://[::1]:1", "app://x", "chrome-extension://abc",
		}}, nil},
		{"head too small", handshake.Options{MaxHeadBytes: 511}, []string{"max head bytes must be 512 to 1048576, not 511"}},
		{"head too large", handshake.Options{MaxHeadBytes: 1<<20 + 1}, []string{"max head bytes"}},
		{"head negative", handshake.Options{MaxHeadBytes: -1}, []string{"max head bytes"}},
		{"too many headers", handshake.Options{MaxHeaders: 1025}, []string{"max headers must be 1 to 1024, not 1025"}},
		{"headers negative", handshake.Options{MaxHeaders: -1}, []string{"max headers"}},
		{"timeout", handshake.Options{Timeout: -time.Second}, []string{"timeout must be positive, not -1s"}},
		{"cookie name with a blank", handshake.Options{CookieName: "a b"}, []string{`cookie name "a b" is not a token`}},
		{"cookie name with =", handshake.Options{CookieName: "a="}, []string{"cookie name"}},
		{"origins, some of them good", handshake.Options{AllowOrigins: []string{"https://good", "*", "example.com"}},
			[]string{`allowed origin "*"`, `allowed origin "example.com"`}},
		{"origin with a path", handshake.Options{AllowOrigins: []string{"https://a/"}}, []string{`"https://a/"`}},
		{"origin with a wildcard", handshake.Options{AllowOrigins: []string{"https://*.a"}}, []string{`"https://*.a"`}},
		{"origin beyond ASCII", handshake.Options{AllowOrigins: []string{"https://bücher.example"}}, []string{"in ASCII"}},
		{"origin with an empty port", handshake.Options{AllowOrigins: []string{"https://a:"}}, []string{`"https://a:"`}},
		{"origin empty", handshake.Options{AllowOrigins: []string{""}}, []string{`allowed origin ""`}},
		{"all at once", handshake.Options{MaxHeadBytes: 1, MaxHeaders: -1, Timeout: -1, CookieName: ";", AllowOrigins: []string{"x"}},
			[]string{"max head bytes", "max headers", "timeout", "cookie name", "allowed origin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := handshake.New(c.opts)
			if (err != nil) != (c.want != nil) || (h == nil) != (c.want != nil) {
				t.Fatalf("got %v, %v", h, err)
			}
			for _, want := range c.want {
				if !strings.HasPrefix(err.Error(), "options: ") || !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "good") {
				t.Errorf("error %q names an origin that is good", err)
			}
		})
	}
}

// TestDefaults holds the documented numbers.
func TestDefaults(t *testing.T) {
	d := handshake.DefaultOptions()
	if d.MaxHeadBytes != 8192 || d.MaxHeaders != 64 || d.Timeout != 5*time.Second || d.CookieName != "token" {
		t.Errorf("defaults %+v", d)
	}
	if d.AnyOrigin || d.AllowOrigins != nil || d.Admit != nil || d.Registerer != nil {
		t.Errorf("defaults %+v", d)
	}
}
