package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/edge/handshake"
)

func TestRequests(t *testing.T) {
	many := func(n int, piece string) []byte { return []byte(strings.Repeat(piece, n)) }
	for _, c := range []struct {
		name    string
		d       handshake.Dialect
		payload []byte
		pieces  int // -1: refused
	}{
		{"plain takes all for one", handshake.Plain, []byte("{}\n{}"), 1},
		{"plain nothing", handshake.Plain, nil, 1},
		{"one line", handshake.JSON, []byte("{}"), 1},
		{"lines", handshake.JSON, []byte("{}\n[]\r\n\n \t\n1"), 3},
		{"most lines", handshake.JSON, many(maxBatch, "{}\n"), maxBatch},
		{"too many lines", handshake.JSON, many(maxBatch+1, "{}\n"), -1},
		{"many empty lines", handshake.JSON, many(1000, "\n"), -1},
		{"no line", handshake.JSON, nil, -1},
		{"one message", handshake.Proto, []byte{1, 'x'}, 1},
		{"empty messages", handshake.Proto, []byte{0, 0, 0}, 3},
		{"most messages", handshake.Proto, many(maxBatch, "\x01x"), maxBatch},
		{"too many messages", handshake.Proto, many(maxBatch+1, "\x01x"), -1},
		{"no message", handshake.Proto, nil, -1},
		{"cut off", handshake.Proto, []byte{1, 'x', 2, 'y'}, -1},
		{"length cut off", handshake.Proto, []byte{1, 'x', 0x80}, -1},
		{"length beyond all", handshake.Proto, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x'}, -1},
		{"length overflows", handshake.Proto, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			pieces, err := requests(c.d, c.payload)
			var f *fault
			if refused := errors.As(err, &f); refused != (c.pieces < 0) || !refused && (err != nil || len(pieces) != c.pieces) {
				t.Errorf("%q, %v", pieces, err)
			}
		})
	}
}

// FuzzLines: what is split are the lines that are not blank, in order.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "{}", "{}\n{}", "\r\n{}\n\n", `{"a":"\n"}`, strings.Repeat("x\n", 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var want []string
		for line := range strings.Lines(string(payload)) {
			if line = string(bytes.TrimSpace([]byte(line))); line != "" {
				want = append(want, line)
			}
		}
		pieces, err := requests(handshake.JSON, payload)
		if (err != nil) != (len(want) == 0 || len(want) > maxBatch) {
			t.Fatalf("%d lines: %v", len(want), err)
		}
		for i, piece := range pieces {
			if string(piece) != want[i] {
				t.Fatalf("line %d is %q, want %q", i, piece, want[i])
			}
		}
	})
}

// FuzzProto: whatever comes, a request that is accepted has the form that one of
// JSON has, and says no more than its own members.
func FuzzProto(f *testing.F) {
	add := func(messages ...*pushdv1.ClientMessage) {
		var all []byte
		for _, m := range messages {
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			all = protowire.AppendBytes(all, b)
		}
		f.Add(all)
	}
	at := &pushdv1.Position{Epoch: "e", Offset: "7"}
	send := func(text string) *pushdv1.ClientMessage {
		return &pushdv1.ClientMessage{Id: "s", Request: &pushdv1.ClientMessage_SendMessage{
			SendMessage: &pushdv1.SendMessage{Channel: "a:b", Message: text, Key: "k"},
		}}
	}
	ping := &pushdv1.ClientMessage{Request: &pushdv1.ClientMessage_Ping{Ping: &pushdv1.Ping{}}}
	add()
	add(ping, ping, &pushdv1.ClientMessage{Id: strings.Repeat("i", 65)})
	add(send(`{"a":1}`), send(`1,"channel":"c"`), send(`1}`), send(""), send("{\n}"))
	add(&pushdv1.ClientMessage{Id: "\x00\"", Request: &pushdv1.ClientMessage_JoinChannel{JoinChannel: &pushdv1.JoinChannel{Channel: `a"b\`, Recover: at}}})
	add(&pushdv1.ClientMessage{Request: &pushdv1.ClientMessage_SubscribeNotifications{
		SubscribeNotifications: &pushdv1.SubscribeNotifications{Types: []string{"a", `"`}, Recover: at},
	}})
	add(&pushdv1.ClientMessage{Request: &pushdv1.ClientMessage_UnsubscribeNotifications{
		UnsubscribeNotifications: &pushdv1.UnsubscribeNotifications{Types: []string{"a"}},
	}})
	add(&pushdv1.ClientMessage{Request: &pushdv1.ClientMessage_GetHistory{
		GetHistory: &pushdv1.GetHistory{Channel: "a", Since: at, Limit: 1 << 31, Reverse: true},
	}})
	add(&pushdv1.ClientMessage{Request: &pushdv1.ClientMessage_Ack{Ack: &pushdv1.Ack{DeliveryIds: []string{"x"}}}})
	f.Add([]byte{2, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		pieces, err := requests(handshake.Proto, payload)
		if err != nil {
			return
		}
		for _, piece := range pieces {
			cmd, err := parseProto(bytes.Clone(piece))
			if cmd.id != nil && (!json.Valid(cmd.id) || cmd.id[0] != '"' || len(protoID(cmd.id)) > maxRequestID) {
				t.Fatalf("id %s", cmd.id)
			}
			var f *fault
			if err != nil && (!errors.As(err, &f) || f.code != codeBadRequest) {
				t.Fatalf("refused with %v", err)
			}
			if err != nil {
				continue
			}
			var members map[string]json.RawMessage
			if !utf8.Valid(cmd.data) || json.Unmarshal(cmd.data, &members) != nil || members == nil {
				t.Fatalf("data %q", cmd.data)
			}
			if name := repeated(json.NewDecoder(bytes.NewReader(cmd.data))); name != "" && cmd.kind != "send_message" {
				t.Fatalf("%q twice in %s", name, cmd.data)
			}
			checkMeaning(t, piece, cmd)
			checkParts(t, cmd)
		}
	})
}

// checkMeaning holds the channel and the message of cmd against what was sent.
func checkMeaning(t *testing.T, piece []byte, cmd command) {
	t.Helper()
	var m pushdv1.ClientMessage
	if err := proto.Unmarshal(piece, &m); err != nil {
		t.Fatal(err)
	}
	if protoID(cmd.id) != m.GetId() {
		t.Fatalf("id %s, want %q", cmd.id, m.GetId())
	}
	sent := m.GetSendMessage()
	if sent == nil {
		return
	}
	if p, err := cmd.post(); err == nil {
		want := strings.NewReplacer("\r", " ", "\n", " ").Replace(sent.GetMessage())
		if p.channel.String() != sent.GetChannel() || strings.TrimSpace(string(p.text)) != strings.TrimSpace(want) {
			t.Fatalf("%q to %q, want %q to %q", p.text, p.channel, want, sent.GetChannel())
		}
	}
}
