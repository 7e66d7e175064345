package edge

import (
	"errors"
	"iter"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// errMessageEnd says that a message is longer than what is there.
var errMessageEnd = errors.New("a message is cut off")

// delimited yields the messages of a frame, each behind its length as a varint.
func delimited(payload []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(payload) > 0 {
			piece, n := protowire.ConsumeBytes(payload)
			if n < 0 {
				yield(nil, errMessageEnd)
				return
			}
			if !yield(piece, nil) {
				return
			}
			payload = payload[n:]
		}
	}
}

// parseProto reads one request of pushd.v1.proto and says it in the terms of
// pushd.v1.json, so that one code judges both. What comes back with an error has
// the id, if that could be read.
func parseProto(piece []byte) (command, error) {
	var m pushdv1.ClientMessage
	if err := proto.Unmarshal(piece, &m); err != nil || len(m.GetId()) > maxRequestID {
		return command{}, errInvalidFormat
	}
	var cmd command
	if m.GetId() != "" {
		cmd.id = appendQuoted(nil, m.GetId())
	}
	kind, data, ok := inTerms(&m)
	cmd.kind = kind
	if !ok {
		return cmd, errInvalidFormat
	}
	cmd.data = data
	return cmd, nil
}

// inTerms returns the type and the data that m has in pushd.v1.json: no type for a
// request that is not known. ok is false for one that pushd.v1.json can't say.
func inTerms(m *pushdv1.ClientMessage) (kind string, data []byte, ok bool) {
	data, ok = []byte("{"), true
	switch r := m.GetRequest().(type) {
	case *pushdv1.ClientMessage_Ping:
		kind = "ping"
	case *pushdv1.ClientMessage_JoinChannel:
		kind = "join_channel"
		data = appendMember(data, "channel", r.JoinChannel.GetChannel())
		data = appendProtoPosition(data, "recover", r.JoinChannel.GetRecover())
	case *pushdv1.ClientMessage_LeaveChannel:
		kind = "leave_channel"
		data = appendMember(data, "channel", r.LeaveChannel.GetChannel())
	case *pushdv1.ClientMessage_SendMessage:
		kind = "send_message"
		data, ok = appendPost(data, r.SendMessage)
	case *pushdv1.ClientMessage_SubscribeNotifications:
		kind = "subscribe_notifications"
		data = appendTypes(data, r.SubscribeNotifications.GetTypes())
		data = appendProtoPosition(data, "recover", r.SubscribeNotifications.GetRecover())
	case *pushdv1.ClientMessage_UnsubscribeNotifications:
		kind = "unsubscribe_notifications"
		data = appendTypes(data, r.UnsubscribeNotifications.GetTypes())
	case *pushdv1.ClientMessage_GetHistory:
		kind = "get_history"
		data = appendExcerpt(data, r.GetHistory)
	case *pushdv1.ClientMessage_Ack:
		kind = "ack"
		data = appendStrings(data, "deliveryIds", r.Ack.GetDeliveryIds())
	case *pushdv1.ClientMessage_GetPresence:
		kind = "get_presence"
		data = appendMember(data, "channel", r.GetPresence.GetChannel())
	case *pushdv1.ClientMessage_RefreshToken:
		kind = "refresh_token"
	}
	return kind, append(data, '}'), ok
}

// appendPost appends the members of a message for a channel. ok is false when
// what the client says is no JSON.
func appendPost(data []byte, m *pushdv1.SendMessage) (_ []byte, ok bool) {
	data = appendMember(data, "channel", m.GetChannel())
	text := jsontext.Value(m.GetMessage())
	// It is checked by itself, for it must not say more than its own member.
	if !text.IsValid() {
		return nil, false
	}
	data = append(appendName(data, "message"), text...)
	if m.GetKey() != "" {
		data = appendMember(data, "key", m.GetKey())
	}
	return data, true
}

func appendExcerpt(data []byte, m *pushdv1.GetHistory) []byte {
	data = appendMember(data, "channel", m.GetChannel())
	data = appendProtoPosition(data, "since", m.GetSince())
	if m.GetLimit() != 0 {
		data = strconv.AppendUint(appendName(data, "limit"), uint64(m.GetLimit()), 10)
	}
	return appendBool(data, "reverse", m.GetReverse())
}

func appendProtoPosition(data []byte, name string, at *pushdv1.Position) []byte {
	if at == nil {
		return data
	}
	data = append(appendName(data, name), '{')
	data = appendMember(data, "epoch", at.GetEpoch())
	data = appendMember(data, "offset", at.GetOffset())
	return append(data, '}')
}
