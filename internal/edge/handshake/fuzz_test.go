package handshake_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// FuzzHandshake: whatever comes ends in one of the four ways, within the
// bounds, the same however it is cut; and a head that is upgraded is one for
// net/http too.
func FuzzHandshake(f *testing.F) {
	const maxHeadBytes, maxHeaders = 1024, 12
	for _, c := range refusals() {
		if len(c.head) < 2*maxHeadBytes {
			f.Add([]byte(c.head), uint8(len(c.head)))
		}
	}
	for _, h := range []head{
		upgradeHead(), tokenHead(), tokenHead().request("GET /ws/admin?%74oken=%41;&token=b HTTP/1.1"),
		upgradeHead().add("Cookie: a=b; token=\"c\"", "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: pushd.jwt.y,pushd.plain"),
		upgradeHead().request("GET / HTTP/1.1"), upgradeHead().pad(maxHeadBytes), upgradeHead().pad(maxHeadBytes + 1),
	} {
		f.Add([]byte(h.String()+"more"), uint8(7))
	}
	h := newHandshaker(f, handshake.Options{
		MaxHeadBytes: maxHeadBytes, MaxHeaders: maxHeaders, AllowOrigins: []string{"https://example.com"}, CookieName: "token",
	})
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		s := newScript(string(data))
		v := judge(t, h, s)
		if s.headRead > maxHeadBytes || s.read > maxHeadBytes+handshake.LingerBytes && v.end != passed {
			t.Fatalf("read %d bytes before the answer, %d in all", s.headRead, s.read)
		}
		sizes := make([]int, len(data))
		for i := range sizes {
			sizes[i] = (i*int(step))%13 + 1
		}
		if again := judge(t, h, newScript(string(data), sizes...)); again != v {
			t.Fatalf("got %+v, and cut otherwise %+v", v, again)
		}
		switch v.end {
		case upgraded:
			checkUpgraded(t, string(data), v)
		case refused:
			if !strings.HasPrefix(v.answer, "HTTP/1.1 "+strconv.Itoa(v.status)+" ") || statuses()[v.reason] != v.status || v.token != "" {
				t.Fatalf("answer %q to %+v", v.answer, v)
			}
		case passed:
			if v.tail != string(data) || v.answer != "" {
				t.Fatalf("answer %q, tail %q", v.answer, v.tail)
			}
		case broken:
			if v.answer != "" || bytes.Contains(data, []byte("\r\n\r\n")) {
				t.Fatalf("answer %q", v.answer)
			}
		}
	})
}

// checkUpgraded reads the request again with net/http.
func checkUpgraded(t *testing.T, data string, v verdict) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(data))
	req, err := http.ReadRequest(r)
	if err != nil {
		t.Fatalf("net/http refuses it: %v", err)
	}
	tail, _ := io.ReadAll(r)
	if string(tail) != v.tail || req.ContentLength != 0 || len(req.TransferEncoding) > 0 {
		t.Fatalf("tail %q, want %q; body of %d", v.tail, tail, req.ContentLength)
	}
	if req.Method != http.MethodGet || req.URL.Path != "/ws" && !v.admin || req.URL.Path != "/ws/admin" && v.admin {
		t.Fatalf("%s %s", req.Method, req.URL.Path)
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version"} {
		if len(req.Header[name]) != 1 {
			t.Fatalf("%s: %q", name, req.Header[name])
		}
	}
	if origin, ok := req.Header["Origin"]; ok && !strings.EqualFold(strings.TrimSuffix(origin[0], ":443"), "https://example.com") {
		t.Fatalf("Origin %q", origin)
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept := base64.StdEncoding.EncodeToString(sum[:])
	want := []string{plain101}
	for d := handshake.Plain; d < handshake.Dialects; d++ {
		want = append(want, selected(d.String()))
	}
	if !slices.Contains(want, strings.Replace(v.answer, accept, sampleAccept, 1)) {
		t.Fatalf("answer %q", v.answer)
	}
	if token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok && strings.Trim(token, " \t") != "" && v.token != strings.Trim(token, " \t") {
		t.Fatalf("token %q, want %q", v.token, token)
	}
}
