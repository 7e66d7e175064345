package handshake_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// TestCutsDoNotMatter reads every head of the table of refusals, and some that
// are not refused, cut in two at every byte, and byte by byte.
func TestCutsDoNotMatter(t *testing.T) {
	all := refusals()
	for name, text := range map[string]string{
		"upgraded":              tokenHead().String(),
		"upgraded, with frames": tokenHead().String() + "\x81\x85\x01\x02\x03\x04abcde\r\n\r\n",
		"passed":                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"passed, with another":  "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + tokenHead().String(),
		"passed, with a body":   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\n\n\x00\r",
		"cut":                   "GET / HTTP/1.1\r\nHost: a\r\n",
	} {
		all = append(all, refusal{name: name, head: text})
	}
	for _, c := range all {
		if len(c.head) > 2<<10 {
			continue // their bounds are looked at with cuts in TestHeadBytes
		}
		t.Run(c.name, func(t *testing.T) {
			h := c.handshaker(t)
			read := func(sizes ...int) verdict {
				s := newScript(c.head, sizes...)
				if c.timeout {
					s.end = os.ErrDeadlineExceeded
				}
				return judge(t, h, s)
			}
			want := read()
			check := func(cut string, sizes ...int) {
				if got := read(sizes...); got != want {
					t.Errorf("%s: %+v, want %+v", cut, got, want)
				}
			}
			for n := 1; n < len(c.head); n++ {
				check(fmt.Sprintf("cut at %d", n), n)
			}
			check("byte by byte", slices.Repeat([]int{1}, len(c.head))...)
			check("threes", slices.Repeat([]int{3}, len(c.head))...)
			check("with empty reads", slices.Repeat([]int{0, 0, 1}, len(c.head))...)
		})
	}
}

// TestEmptyReads: a socket that never says anything does not hold the caller.
func TestEmptyReads(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	text := upgradeHead().String()
	if v := judge(t, h, newScript(text, slices.Repeat([]int{0}, 100)...)); v.end != upgraded {
		t.Errorf("100 empty reads: %s", v.end)
	}
	if v := judge(t, h, newScript(text, slices.Repeat([]int{0}, 101)...)); v.end != broken {
		t.Errorf("101 empty reads: %s", v.end)
	}
}
