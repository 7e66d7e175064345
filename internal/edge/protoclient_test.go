package edge_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// The dialects beside the plain one.
const (
	jsonDialect  = "pushd.v1.json"
	protoDialect = "pushd.v1.proto"
)

// isV1 reports whether c speaks more than the plain dialect.
func (c *client) isV1() bool { return c.dialect == jsonDialect || c.dialect == protoDialect }

// A test's client of pushd.v1.proto thinks in pushd.v1.json: what it sends and
// gets is translated by protojson and the rules below, which know nothing of the
// code under test.

// object is a JSON object.
type object = map[string]any

// protoRequests translates requests, one a line, to a binary frame.
func protoRequests(t testing.TB, text string) []byte {
	t.Helper()
	var frame []byte
	for line := range strings.SplitSeq(text, "\n") {
		frame = protowire.AppendBytes(frame, protoRequest(t, line))
	}
	return frame
}

func protoRequest(t testing.TB, line string) []byte {
	t.Helper()
	var request struct {
		Type string                     `json:"type"`
		ID   string                     `json:"id"`
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(line), &request); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	data := make(object)
	for name, value := range request.Data {
		switch name {
		case "message": // JSON text within
			data[name] = string(value)
		case "deliveryId":
			data["deliveryIds"] = []json.RawMessage{value}
		default:
			data[name] = value
		}
	}
	all := object{"id": request.ID}
	if (&pushdv1.ClientMessage{}).ProtoReflect().Descriptor().Fields().ByTextName(request.Type) != nil {
		all[request.Type] = data
	}
	var m pushdv1.ClientMessage
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(must(json.Marshal(all)), &m); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return must(proto.Marshal(&m))
}

// protoAnswer translates a frame of one message.
func protoAnswer(t testing.TB, frame []byte) harness.Message {
	t.Helper()
	body, n := protowire.ConsumeBytes(frame)
	if n != len(frame) {
		t.Fatalf("a frame of %d bytes, a message of %d: %x", len(frame), n, frame)
	}
	var m pushdv1.ServerMessage
	if err := proto.Unmarshal(body, &m); err != nil {
		t.Fatalf("%x: %v", frame, err)
	}
	var all object
	if err := json.Unmarshal(must(protojson.MarshalOptions{UseProtoNames: true}.Marshal(&m)), &all); err != nil {
		t.Fatal(err)
	}
	text := must(json.Marshal(asJSON(t, all)))
	answer := harness.Message{Text: string(text)}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// asJSON turns a ServerMessage, as protojson writes it, into the message of
// pushd.v1.json with the same meaning.
func asJSON(t testing.TB, all object) object {
	t.Helper()
	m := make(object)
	var kind string
	var data object
	for name, value := range all {
		if name == "id" {
			m["id"] = value
			continue
		}
		kind, data = name, value.(object)
	}
	m["type"] = kind
	camel := make(object)
	for name, value := range data {
		camel[camelCase(name)] = value
	}
	for _, name := range []string{"timestamp", "tokenExpiresAt"} {
		if value, ok := camel[name].(string); ok {
			camel[name] = must(time.Parse(time.RFC3339, value)).Format("2006-01-02T15:04:05.000Z")
		}
	}
	m["data"] = camel
	text := func(name string) any {
		s, _ := camel[name].(string)
		delete(camel, name)
		return json.RawMessage(s)
	}
	// beside moves what stands beside data.
	beside := func() {
		for _, name := range []string{"channel", "messageId", "offset", "deliveryId"} {
			if value, ok := camel[name]; ok {
				m[name] = value
			}
		}
	}
	switch kind {
	case "connection":
		camel["pingInterval"] = milliseconds(t, camel["pingInterval"])
		camel["maxMessageBytes"] = json.RawMessage(camel["maxMessageBytes"].(string))
	case "channel_message":
		camel["message"] = text("message")
		sender := object{"connectionId": camel["sender"].(object)["connection_id"]}
		if id, ok := camel["sender"].(object)["id"]; ok {
			sender["id"] = id
		}
		camel["sender"] = sender
	case "notification":
		beside()
		m["data"] = text("data")
	case "service_message":
		beside()
		m["type"] = camel["type"]
		if raw, ok := camel["raw"].(string); ok {
			delete(m, "data")
			var members object
			if err := json.Unmarshal([]byte(raw), &members); err != nil {
				t.Fatal(err)
			}
			for name, value := range members {
				m[name] = value
			}
		} else {
			m["data"] = text("data")
		}
	case "channel_joined", "notifications_subscribed", "notifications_unsubscribed", "channel_left", "pong", "gap":
		if _, ok := camel["types"]; !ok && strings.HasPrefix(kind, "notifications") {
			camel["types"] = []any{}
		}
	case "message_sent":
		if _, ok := camel["duplicate"]; !ok {
			camel["duplicate"] = false
		}
	case "history":
		messages := []any{}
		list, _ := camel["messages"].([]any)
		for _, kept := range list {
			messages = append(messages, asJSON(t, kept.(object)))
		}
		camel["messages"] = messages
	case "going_away":
		camel["retryAfter"] = milliseconds(t, camel["retryAfter"])
	case "error":
		if _, ok := camel["retryable"]; !ok {
			camel["retryable"] = false
		}
		if after, ok := camel["retryAfter"]; ok {
			camel["retryAfter"] = milliseconds(t, after)
		}
	default:
		t.Fatalf("message %v", all)
	}
	return m
}

// camelCase turns the name of a field into that of a member.
func camelCase(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// milliseconds reads a duration as protojson writes it.
func milliseconds(t testing.TB, value any) int64 {
	t.Helper()
	return must(time.ParseDuration(value.(string))).Milliseconds()
}

// canonical returns JSON text with sorted members and without space.
func canonical(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(must(json.Marshal(v)))
}
