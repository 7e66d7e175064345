package edge

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// protoMessage returns m in the form of pushd.v1.proto. Its payload is taken apart
// where it has the form that pushd gives to it.
func protoMessage(m *message.Message, withOffset bool) *pushdv1.ServerMessage {
	offset := ""
	if withOffset && !m.Position.IsZero() {
		offset = history.FormatOffset(m.Position.Offset)
	}
	if m.FromClient {
		if sent := protoChannelMessage(m); sent != nil {
			sent.Offset = offset
			return &pushdv1.ServerMessage{Message: &pushdv1.ServerMessage_ChannelMessage{ChannelMessage: sent}}
		}
	}
	kind, data := takeApart(m.Payload)
	if m.Target.Kind() == address.KindUser && kind == "notification" && data != nil {
		return &pushdv1.ServerMessage{Message: &pushdv1.ServerMessage_Notification{Notification: &pushdv1.Notification{
			Data: string(data), MessageId: m.ID.String(), Offset: offset, DeliveryId: deliveryID(m),
		}}}
	}
	s := &pushdv1.ServiceMessage{
		Type: kind, Channel: m.Target.Channel().String(), MessageId: m.ID.String(), Offset: offset, DeliveryId: deliveryID(m),
	}
	if data != nil {
		s.Content = &pushdv1.ServiceMessage_Data{Data: string(data)}
	} else {
		// Text that is not UTF-8 comes from no node of pushd, but must not stop one.
		s.Content = &pushdv1.ServiceMessage_Raw{Raw: strings.ToValidUTF8(string(m.Payload), "\uFFFD")}
	}
	return &pushdv1.ServerMessage{Message: &pushdv1.ServerMessage_ServiceMessage{ServiceMessage: s}}
}

// takeApart returns the type of a payload, and its data if there are no other
// members; else nil.
func takeApart(payload []byte) (kind string, data jsontext.Value) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(payload, &members); err != nil {
		return "", nil
	}
	if text, err := jsontext.AppendUnquote(nil, members["type"]); err == nil {
		kind = string(text)
	}
	if len(members) != 2 || kind == "" {
		return kind, nil
	}
	return kind, members["data"]
}

// protoChannelMessage takes apart what channelMessage made; nil: it is something
// else.
func protoChannelMessage(m *message.Message) *pushdv1.ChannelMessage {
	var sent struct {
		Data struct {
			Channel string         `json:"channel"`
			Message jsontext.Value `json:"message"`
			Sender  struct {
				ID           string `json:"id"`
				ConnectionID string `json:"connectionId"`
			} `json:"sender"`
			Timestamp time.Time `json:"timestamp"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Payload, &sent); err != nil || sent.Data.Message == nil {
		return nil
	}
	return &pushdv1.ChannelMessage{
		Channel:   sent.Data.Channel,
		Message:   string(sent.Data.Message),
		Sender:    &pushdv1.Sender{Id: sent.Data.Sender.ID, ConnectionId: sent.Data.Sender.ConnectionID},
		Timestamp: protoTime(sent.Data.Timestamp),
		MessageId: m.ID.String(),
	}
}
