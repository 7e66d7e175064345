package e2e_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// masked returns a frame of a client, as far as its header is right.
func masked(h ws.Header, payload string) string {
	h.Masked = true
	if h.Length == 0 {
		h.Length = int64(len(payload))
	}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		return err.Error()
	}
	b.WriteString(payload) // the mask is zero
	return b.String()
}

func text(payload string) string {
	return masked(ws.Header{Fin: true, OpCode: ws.OpText}, payload)
}

// badFrames are what no client may send, with the code that it is told.
func badFrames() map[string]struct {
	frames string
	code   ws.StatusCode
} {
	type row = struct {
		frames string
		code   ws.StatusCode
	}
	begin := masked(ws.Header{OpCode: ws.OpText}, `{"type":`)
	long := strings.Repeat("x", 2<<10)
	return map[string]row{
		"not masked":               {"\x81\x02{}", 1002},
		"reserved bit 1":           {masked(ws.Header{Fin: true, Rsv: 4, OpCode: ws.OpText}, "{}"), 1002},
		"reserved bit 3":           {masked(ws.Header{Fin: true, Rsv: 1, OpCode: ws.OpText}, "{}"), 1002},
		"reserved opcode":          {masked(ws.Header{Fin: true, OpCode: 3}, ""), 1002},
		"reserved control opcode":  {masked(ws.Header{Fin: true, OpCode: 11}, ""), 1002},
		"ping in parts":            {masked(ws.Header{OpCode: ws.OpPing}, "a"), 1002},
		"long ping":                {masked(ws.Header{Fin: true, OpCode: ws.OpPing}, strings.Repeat("x", 126)), 1002},
		"continuation of nothing":  {masked(ws.Header{Fin: true, OpCode: ws.OpContinuation}, "x"), 1002},
		"message inside another":   {begin + text(`{}`), 1002},
		"length not minimal":       {"\x81\xfe\x00\x02\x00\x00\x00\x00{}", 1002},
		"length with highest bit":  {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1002},
		"short close":              {masked(ws.Header{Fin: true, OpCode: ws.OpClose}, "\x03"), 1002},
		"close with 1005":          {masked(ws.Header{Fin: true, OpCode: ws.OpClose}, "\x03\xed"), 1002},
		"close with 2000":          {masked(ws.Header{Fin: true, OpCode: ws.OpClose}, "\x07\xd0"), 1002},
		"close reason not UTF-8":   {masked(ws.Header{Fin: true, OpCode: ws.OpClose}, "\x03\xe8\xff"), 1007},
		"text not UTF-8":           {text("{\"type\":\"\xff\"}"), 1007},
		"text cut in a character":  {text("\"\xe7\xa7"), 1007},
		"surrogate in UTF-8":       {text("\"\xed\xa0\x80\""), 1007},
		"not UTF-8 in second part": {begin + masked(ws.Header{Fin: true, OpCode: ws.OpContinuation}, "\xff"), 1007},
		"binary":                   {masked(ws.Header{Fin: true, OpCode: ws.OpBinary}, "{}"), 1003},
		"too large":                {text(long), 1009},
		"too large, only claimed":  {masked(ws.Header{Fin: true, OpCode: ws.OpText, Length: 1 << 40}, ""), 1009},
		"too large in parts":       {begin + masked(ws.Header{Fin: true, OpCode: ws.OpContinuation}, long[:1020]), 1009},
		"too many parts":           {begin + strings.Repeat(masked(ws.Header{OpCode: ws.OpContinuation}, ""), 1100), 1009},
	}
}

func TestBadFrames(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--max-message-bytes", "1024", "--max-connections-per-user", "100")
	bystander := connect(ctx, t, n, "acme", "bob")
	for name, c := range badFrames() {
		t.Run(name, func(t *testing.T) {
			s := connect(ctx, t, n, "acme", "ann")
			if _, err := io.WriteString(s.Conn(), c.frames); err != nil {
				t.Fatal(err)
			}
			closed, err := s.AwaitClose(ctx)
			if err != nil || closed.Code != c.code {
				t.Errorf("got %v, %v; want %d", closed, err, c.code)
			}
		})
	}
	checkQuiet(ctx, t, bystander)
}

// What is allowed but seldom must work.
func TestUnusualFrames(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--max-message-bytes", "1024", "--max-connections-per-user", "100")
	request := `{"type":"ping","id":"` + strings.Repeat("x", 64) + `"}`
	part := func(fin bool, op ws.OpCode, payload string) string {
		return masked(ws.Header{Fin: fin, OpCode: op}, payload)
	}
	for name, frames := range map[string]string{
		"in two parts":        part(false, ws.OpText, request[:7]) + part(true, ws.OpContinuation, request[7:]),
		"in empty parts":      part(false, ws.OpText, "") + part(false, ws.OpContinuation, request) + part(true, ws.OpContinuation, ""),
		"ping between parts":  part(false, ws.OpText, request[:7]) + part(true, ws.OpPing, "hi") + part(true, ws.OpContinuation, request[7:]),
		"pong nobody wanted":  part(true, ws.OpPong, "") + text(request),
		"of the largest size": text(request + strings.Repeat(" ", 1024-len(request))),
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(ctx, t, n, "acme", "ann")
			if _, err := io.WriteString(s.Conn(), frames); err != nil {
				t.Fatal(err)
			}
			if m, err := s.Expect(ctx, "pong"); err != nil || len(m.ID) != 64 {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
	for name, body := range map[string]string{"close": "", "close with a code": "\x03\xe8", "close of an application": "\x0f\xa1bye"} {
		t.Run(name, func(t *testing.T) {
			want := ws.StatusNormalClosure
			if len(body) > 2 {
				want = 4001
			}
			s := connect(ctx, t, n, "acme", "ann")
			if _, err := io.WriteString(s.Conn(), part(true, ws.OpClose, body)); err != nil {
				t.Fatal(err)
			}
			if closed, err := s.AwaitClose(ctx); err != nil || closed.Code != want {
				t.Errorf("%v, %v", closed, err)
			}
		})
	}
}

// Every byte of a request in a packet of its own.
func TestOneByteAtATime(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	s := connect(ctx, t, n, "acme", "ann")
	for _, b := range []byte(text(`{"type":"join_channel","data":{"channel":"tenant:acme:租户"}}`)) {
		if _, err := s.Conn().Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := s.Expect(ctx, "channel_joined"); err != nil || m.Field("channel") != "tenant:acme:租户" {
		t.Errorf("%s, %v", m.Text, err)
	}
}
