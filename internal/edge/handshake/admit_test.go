package handshake_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func TestAdmitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		refusal    handshake.Refusal
		status     int
		reason     handshake.Reason
		retryAfter string
	}{
		"503":                 {handshake.Refusal{Status: 503, RetryAfter: 10 * time.Second}, 503, handshake.ReasonUnavailable, "10"},
		"429":                 {handshake.Refusal{Status: 429, RetryAfter: 10 * time.Second}, 429, handshake.ReasonRateLimited, "10"},
		"rounded up":          {handshake.Refusal{Status: 503, RetryAfter: 1001 * time.Millisecond}, 503, handshake.ReasonUnavailable, "2"},
		"a nanosecond":        {handshake.Refusal{Status: 429, RetryAfter: 1}, 429, handshake.ReasonRateLimited, "1"},
		"none":                {handshake.Refusal{Status: 503}, 503, handshake.ReasonUnavailable, "1"},
		"in the past":         {handshake.Refusal{Status: 503, RetryAfter: -time.Hour}, 503, handshake.ReasonUnavailable, "1"},
		"an hour":             {handshake.Refusal{Status: 503, RetryAfter: time.Hour}, 503, handshake.ReasonUnavailable, "3600"},
		"a status of no kind": {handshake.Refusal{Status: 418}, 503, handshake.ReasonUnavailable, "1"},
		"no status":           {handshake.Refusal{}, 503, handshake.ReasonUnavailable, "1"},
		"a success":           {handshake.Refusal{Status: http.StatusOK}, 503, handshake.ReasonUnavailable, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.refusal.Reason = "come back later"
			h := newHandshaker(t, handshake.Options{Admit: func(net.Addr) *handshake.Refusal { return &c.refusal }})
			v := expectRefusal(t, h, upgradeHead().String(), c.reason)
			if v.status != c.status || !strings.Contains(v.answer, "\r\nRetry-After: "+c.retryAfter+"\r\n") ||
				!strings.HasSuffix(v.answer, "\r\n\r\ncome back later\n") {
				t.Errorf("status %d, answer %q", v.status, v.answer)
			}
		})
	}
}

// TestAdmitIsAsked: once, with the peer's address, for a request that is good,
// and for no other.
func TestAdmitIsAsked(t *testing.T) {
	var asked []string
	h := newHandshaker(t, handshake.Options{Admit: func(remote net.Addr) *handshake.Refusal {
		asked = append(asked, remote.String())
		return nil
	}})
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
		upgradeHead().set("Origin: https://evil.example").String(),
		upgradeHead().set("Sec-WebSocket-Protocol: chat").String(),
		upgradeHead().set("Sec-WebSocket-Protocol: a/b").String(),
		upgradeHead().pad(9000).String(),
		"nonsense\r\n\r\n",
	} {
		if v := judge(t, h, newScript(text)); v.end == upgraded {
			t.Errorf("%q is upgraded", text)
		}
	}
	if len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}
	expectUpgrade(t, h, upgradeHead().String())
	if len(asked) != 1 || asked[0] != "192.0.2.7:4711" {
		t.Errorf("asked for %v", asked)
	}
}
