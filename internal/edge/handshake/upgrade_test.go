package handshake_test

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

const (
	plain101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + sampleAccept + "\r\n\r\n"
	selected101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + sampleAccept + "\r\nSec-WebSocket-Protocol: pushd.plain\r\n\r\n"
)

// TestUpgrades: each of these is upgraded, and all get the same 101.
func TestUpgrades(t *testing.T) {
	good := upgradeHead()
	for name, h := range map[string]head{
		"shortest":                       good,
		"other order":                    {good.line, []string{good.fields[4], good.fields[3], good.fields[2], good.fields[1], good.fields[0]}},
		"names in lower case":            {good.line, []string{"host: a", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "sec-websocket-key: " + sampleKey}},
		"names in upper case":            {good.line, []string{"HOST: a", "UPGRADE: WEBSOCKET", "CONNECTION: UPGRADE", "SEC-WEBSOCKET-VERSION: 13", "SEC-WEBSOCKET-KEY: " + sampleKey}},
		"no blanks":                      {good.line, []string{"Host:a", "Upgrade:websocket", "Connection:Upgrade", "Sec-WebSocket-Version:13", "Sec-WebSocket-Key:" + sampleKey}},
		"blanks around":                  {good.line, []string{"Host: \t a \t", "Upgrade:\twebsocket ", "Connection:  Upgrade\t", "Sec-WebSocket-Version:  13  ", "Sec-WebSocket-Key:\t" + sampleKey + "\t"}},
		"Firefox":                        good.set("Connection: keep-alive, Upgrade"),
		"Connection with empty elements": good.set("Connection: , ,keep-alive,,UPGRADE,"),
		"Connection without blanks":      good.set("Connection: upgrade,keep-alive"),
		"query":                          good.request("GET /ws?a=b&c HTTP/1.1"),
		"empty query":                    good.request("GET /ws? HTTP/1.1"),
		"query with a question mark":     good.request("GET /ws??/../admin HTTP/1.1"),
		"query that does not decode":     good.request("GET /ws?%zz=%&;; HTTP/1.1"),
		"Content-Length 0":               good.add("Content-Length: 0"),
		"extensions":                     good.add("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Sec-WebSocket-Extensions: x"),
		"nothing offered":                good.add("Sec-WebSocket-Protocol:"),
		"nothing offered, with commas":   good.add("Sec-WebSocket-Protocol: , ,"),
		"fields that may repeat":         good.add("Cookie: a=b", "Cookie: c=d", "X: 1", "X: 2", "Accept-Encoding: gzip", "Accept-Encoding: br"),
		"empty values":                   good.add("X:", "Y: ", "Z:\t"),
		"values beyond ASCII":            good.add("User-Agent: Ünïcödé \xff"),
		"tab in a value":                 good.add("X: a\tb"),
		"every letter of names":          good.add("!#$%&'*+-.^_`|~09azAZ: x"),
		"underscore twin":                good.add("Sec_WebSocket_Key: AAAA", "Transfer_Encoding: chunked"),
		"much longer name":               good.add("Sec-WebSocket-Version-Of-The-Future: 14"),
	} {
		t.Run(name, func(t *testing.T) {
			v := expectUpgrade(t, newHandshaker(t, handshake.DefaultOptions()), h.String())
			if v.answer != plain101 || v.admin || v.token != "" || v.tail != "" {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for _, host := range []string{
		"a", "A.Example", "example.com:80", "example.com:65535", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "[2001:DB8::1]:1",
		"[::ffff:192.0.2.1]", "xn--bcher-kva.example", "a_b", "a.", "localhost:1",
	} {
		t.Run(host, func(t *testing.T) { expectUpgrade(t, h, upgradeHead().set("Host: "+host).String()) })
	}
}

// TestPaths: two paths are upgraded, by their bytes.
func TestPaths(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for target, want := range map[string]struct {
		end   end
		admin bool
	}{
		"/ws":          {upgraded, false},
		"/ws?x=/admin": {upgraded, false},
		"/ws/admin":    {upgraded, true},
		"/ws/admin?x":  {upgraded, true},
		"/":            {passed, false},
		"/ws/":         {passed, false},
		"/ws/admin/":   {passed, false},
		"/ws/x":        {passed, false},
		"/WS":          {passed, false},
		"//ws":         {passed, false},
		"/x/../ws":     {passed, false},
		"/ws/./admin":  {passed, false},
		"/%77s":        {passed, false},
		"/ws%3Fa":      {passed, false},
		"/ws;a":        {passed, false},
		"/wss":         {passed, false},
		"/healthz":     {passed, false},
		"/?/ws":        {passed, false},
	} {
		t.Run(target, func(t *testing.T) {
			v := judge(t, h, newScript(upgradeHead().request("GET "+target+" HTTP/1.1").String()))
			if v.end != want.end || v.admin != want.admin {
				t.Errorf("%s, admin %v", v.end, v.admin)
			}
		})
	}
}

// TestPipelined: what came behind the head is kept, wherever the cut was.
func TestPipelined(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	text := upgradeHead().String()
	for name, c := range map[string]struct {
		more  string
		sizes []int
		kept  int // bytes that come back in Pipelined
	}{
		"nothing":               {"", nil, 0},
		"one byte":              {"\x81", nil, 1},
		"a frame":               {"\x81\x85\x01\x02\x03\x04abcde", nil, 11},
		"line ends":             {"\r\n\r\n", nil, 4},
		"still on the way":      {"abc", []int{len(text)}, 0},
		"partly on the way":     {"abc", []int{len(text) + 1}, 1},
		"more than the buffer":  {strings.Repeat("x", 4096), nil, 2<<10 - len(text)},
		"head in two, and more": {"abc", []int{len(text) - 1, 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(text+c.more, c.sizes...)
			up, err := h.Do(s, time.Now())
			if err != nil {
				t.Fatalf("do: %v", err)
			}
			if string(up.Pipelined) != c.more[:c.kept] || s.read != len(text)+c.kept || (up.Pipelined == nil) != (c.kept == 0) {
				t.Errorf("kept %q of %d bytes read", up.Pipelined, s.read-len(text))
			}
		})
	}
}

// TestPipelinedIsOwned: what came back stays when the buffer is used again.
func TestPipelinedIsOwned(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	head := upgradeHead().set("Authorization: Bearer first").String()
	first, err := h.Do(newScript(head+"first"), time.Now())
	if err != nil {
		t.Fatalf("do: %v", err)
	}
	for range 10 {
		expectUpgrade(t, h, strings.ReplaceAll(head, "first", "other")+"other")
	}
	if string(first.Pipelined) != "first" || first.Token != "first" || string(first.Answer) != plain101 {
		t.Errorf("became %q, %q and %q", first.Pipelined, first.Token, first.Answer)
	}
}

// TestUpgradeOverSockets has a client that is not ours, and sees that the
// socket works in both directions afterwards.
func TestUpgradeOverSockets(t *testing.T) {
	run := func(t *testing.T, connect pair) {
		t.Helper()
		client, server := connect(t)
		defer client.Close()
		defer server.Close()
		type outcome struct {
			up  *handshake.Upgraded
			err error
		}
		done := make(chan outcome, 1)
		h := newHandshaker(t, handshake.DefaultOptions())
		go func() {
			up, err := h.Do(server, time.Now())
			if err == nil {
				_, err = server.Write(up.Answer)
			}
			done <- outcome{up, err}
		}()
		dialer := ws.Dialer{Protocols: []string{"pushd.jwt.abc", "pushd.plain"}}
		_, hs, err := dialer.Upgrade(client, mustURL(t, "ws://example.com/ws/admin?x=1"))
		if err != nil || hs.Protocol != "pushd.plain" || len(hs.Extensions) > 0 {
			t.Fatalf("dial: %v, %+v", err, hs)
		}
		got := <-done
		if got.err != nil || !got.up.Admin || got.up.Token != "abc" {
			t.Fatalf("do: %+v, %v", got.up, got.err)
		}
		for _, d := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
			sent := make(chan error, 1)
			go func() {
				_, err := d.from.Write([]byte("x"))
				sent <- err
			}()
			b := make([]byte, 2)
			if n, err := d.to.Read(b); n != 1 || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			if err := <-sent; err != nil {
				t.Errorf("write: %v", err)
			}
		}
	}
	t.Run("loopback", func(t *testing.T) { run(t, loopbackPair) })
	t.Run("pipe", func(t *testing.T) { run(t, pipePair) })
}

// TestDeadlineIsOff: long after the handshake, the socket still works.
func TestDeadlineIsOff(t *testing.T) {
	for name, text := range map[string]string{"upgraded": upgradeHead().String(), "passed": "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				p := send(client, "GET", text)
				if up, err := newHandshaker(t, handshake.DefaultOptions()).Do(server, time.Now()); (up == nil) != (name == "passed") {
					t.Fatalf("do: %v, %v", up, err)
				}
				<-time.After(time.Hour)
				go server.Write([]byte(plain101)) // what the client waits for
				if name == "upgraded" {
					p.answer()
					go func() { _, _ = client.Write([]byte("x")) }()
					b := make([]byte, 1)
					if _, err := server.Read(b); err != nil {
						t.Errorf("read: %v", err)
					}
					go server.Write(b)
					if _, err := client.Read(make([]byte, 1)); err != nil {
						t.Errorf("write: %v", err)
					}
					return
				}
				if got := p.answer(); got != plain101 {
					t.Errorf("answer %q", got)
				}
			})
		})
	}
}
