package edge_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge"
)

const (
	// fuzzMaxMessage is the limit of the server that FuzzSession talks to.
	fuzzMaxMessage = 4096
	fuzzFence      = "the end of it"
)

// FuzzSession sends whatever bytes behind an upgrade. The server must not fall
// over, what it sends must be a sequence of whole frames with JSON texts, and
// in the end it either closes with a code or answers a ping.
func FuzzSession(f *testing.F) {
	add := func(frames ...ws.Frame) {
		var all bytes.Buffer
		for _, frame := range frames {
			frame.Payload = bytes.Clone(frame.Payload)
			if err := ws.WriteFrame(&all, ws.MaskFrameInPlace(frame)); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(all.Bytes())
	}
	add()
	f.Add([]byte{0x81})
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 200})
	for _, text := range []string{
		`{"type":"ping","id":"1"}`, request("join_channel", `"channel":"tenant:acme:x"`), request("leave_channel", `"channel":"tenant:acme:x"`),
		request("send_message", `"channel":"tenant:acme:x","message":{"a":[1]}`), request("subscribe_notifications", `"types":["a"]`),
		`{"type":"x"}`, `[]`, "\xff",
	} {
		add(ws.NewTextFrame([]byte(text)))
		add(ws.NewTextFrame([]byte(request("join_channel", `"channel":"tenant:acme:x"`))), ws.NewPingFrame([]byte("p")), ws.NewTextFrame([]byte(text)))
	}
	add(fragments(3)...)
	add(ws.NewCloseFrame([]byte{3, 232, 'b'}), ws.NewPingFrame(nil))
	add(ws.NewBinaryFrame([]byte{1}))
	add(ws.NewFrame(ws.OpText, false, []byte("x")), ws.NewPingFrame(nil))

	e := newQuietEnv(f, func(o *edge.Options) {
		o.MaxMessageBytes, o.MaxConnectionsPerUser = fuzzMaxMessage, 1000
		o.InboundRate, o.InboundBurst = 1e6, 1e6
	})
	ln := newChanListener()
	e.serve(f, ln)
	head := rawHead("/ws", token(f, who{user: "ann"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := ln.pipe("192.0.2.1:1")
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var writing sync.WaitGroup
		writing.Go(func() { // ends when all is sent, or with conn
			for _, b := range [][]byte{[]byte(head), data, remainder(data), fence()} {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		})
		checkSession(t, conn)
		_ = conn.Close()
		writing.Wait()
	})
}

// fence is a ping whose answer says that all before it was taken.
func fence() []byte {
	return must(ws.CompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte(fuzzFence)))))
}

// remainder completes the last frame of data, so that a fence can follow.
func remainder(data []byte) []byte {
	all := bytes.Clone(data)
	for rest := all; len(rest) > 0; {
		r := bytes.NewReader(rest)
		h, err := ws.ReadHeader(r)
		if err != nil {
			// Zeros complete the header.
			all = append(all, 0)
			rest = all[len(all)-1-len(rest):]
			if len(rest) > ws.MaxHeaderSize {
				return nil // not a header that the server takes
			}
			continue
		}
		if h.Length > 2*fuzzMaxMessage {
			return all[len(data):] // the server has closed by now
		}
		missing := int(h.Length) - r.Len()
		if missing > 0 {
			return append(all, make([]byte, missing)...)[len(data):]
		}
		rest = rest[len(rest)-r.Len()+int(h.Length):]
	}
	return all[len(data):]
}

// checkSession reads what the server sends until it closes or the fence is
// answered.
func checkSession(t *testing.T, conn net.Conn) {
	t.Helper()
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", answer, err)
	}
	for first := true; ; first = false {
		f, err := readFrame(r)
		if err != nil {
			t.Fatalf("the server stopped without a close frame: %v", err)
		}
		if err := ws.CheckHeader(f.Header, ws.StateClientSide); err != nil || !f.Header.Fin || f.Header.Rsv != 0 {
			t.Fatalf("%+v, %v", f.Header, err)
		}
		switch f.Header.OpCode {
		case ws.OpText:
			checkText(t, f.Payload, first)
		case ws.OpPong:
			if string(f.Payload) == fuzzFence {
				return
			}
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			if code < 1000 || code > 4999 || !utf8.ValidString(reason) {
				t.Fatalf("closed with %d %q", code, reason)
			}
			if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
				t.Fatalf("%d bytes behind the close frame, %v", n, err)
			}
			return
		default:
			t.Fatalf("%+v", f.Header)
		}
	}
}

// checkText wants one message of the protocol.
func checkText(t *testing.T, text []byte, first bool) {
	t.Helper()
	var m struct {
		Type *string         `json:"type"`
		ID   *string         `json:"id"`
		Data json.RawMessage `json:"data"`
	}
	if !utf8.Valid(text) || json.Unmarshal(text, &m) != nil || m.Type == nil || len(m.Data) == 0 || m.Data[0] != '{' {
		t.Fatalf("message %q", text)
	}
	if (*m.Type == "connection") != first || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("message %q, the first: %v", text, first)
	}
}
