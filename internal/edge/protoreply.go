package edge

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// protoFrame makes the frame of one message: behind its length, as several may
// stand in a frame.
func protoFrame(m *pushdv1.ServerMessage) *frame.Frame {
	size := proto.Size(m)
	b := make([]byte, 0, protowire.SizeBytes(size))
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // No size is negative.
	// It fails only for text that is not UTF-8: names are, and JSON was checked.
	b, _ = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	return frame.Binary(b)
}

// protoID returns the id of a request, which a command has as JSON text.
func protoID(id jsontext.Value) string {
	if id == nil {
		return ""
	}
	text, _ := jsontext.AppendUnquote(nil, id)
	return string(text)
}

// protoTime returns t in milliseconds, as all dialects have it.
func protoTime(t time.Time) *timestamppb.Timestamp {
	return timestamppb.New(t.Truncate(time.Millisecond))
}

func protoConnection(c *conn, now time.Time) *frame.Frame {
	o, p := &c.loop.hub.opts, c.principal
	m := &pushdv1.Connection{
		ConnectionId:    c.id.String(),
		Timestamp:       protoTime(now),
		UserId:          p.User.String(),
		TenantId:        p.Tenant.String(),
		PingInterval:    durationpb.New(o.PingInterval),
		MaxMessageBytes: uint64(o.MaxMessageBytes), //nolint:gosec // It is positive.
	}
	if expires := p.ExpiresAt(); !expires.IsZero() {
		m.TokenExpiresAt = protoTime(expires)
	}
	return protoFrame(&pushdv1.ServerMessage{Message: &pushdv1.ServerMessage_Connection{Connection: m}})
}

func protoPong(id jsontext.Value, now time.Time) *frame.Frame {
	return protoFrame(&pushdv1.ServerMessage{
		Id:      protoID(id),
		Message: &pushdv1.ServerMessage_Pong{Pong: &pushdv1.Pong{Timestamp: protoTime(now)}},
	})
}

func protoChannelJoined(id jsontext.Value, channel address.Channel, at *joined) *frame.Frame {
	m := &pushdv1.ChannelJoined{Channel: channel.String()}
	m.Epoch, m.Offset, m.Recovered, m.Gap = protoJoined(at)
	return protoFrame(&pushdv1.ServerMessage{
		Id: protoID(id), Message: &pushdv1.ServerMessage_ChannelJoined{ChannelJoined: m},
	})
}

func protoChannelLeft(id jsontext.Value, channel address.Channel) *frame.Frame {
	return protoFrame(&pushdv1.ServerMessage{
		Id:      protoID(id),
		Message: &pushdv1.ServerMessage_ChannelLeft{ChannelLeft: &pushdv1.ChannelLeft{Channel: channel.String()}},
	})
}

func protoSubscribed(id jsontext.Value, types []string, at *joined) *frame.Frame {
	m := &pushdv1.NotificationsSubscribed{Types: types}
	m.Epoch, m.Offset, m.Recovered, m.Gap = protoJoined(at)
	return protoFrame(&pushdv1.ServerMessage{
		Id: protoID(id), Message: &pushdv1.ServerMessage_NotificationsSubscribed{NotificationsSubscribed: m},
	})
}

// protoJoined returns what an answer to a join says of the history.
func protoJoined(at *joined) (epoch, offset string, recovered *bool, g *pushdv1.Gap) {
	if at == nil {
		return "", "", nil, nil
	}
	if at.epoch != "" {
		epoch, offset = at.epoch, history.FormatOffset(at.offset)
	}
	if at.asked {
		recovered = &at.recovered
	}
	if at.gap != nil {
		g = protoGap("", *at.gap)
	}
	return epoch, offset, recovered, g
}

func protoGap(channel string, g gap) *pushdv1.Gap {
	m := &pushdv1.Gap{Channel: channel, Reason: string(g.reason)}
	m.From, m.To = g.offsets()
	return m
}

func protoGapFrame(channel address.Channel, g gap) *frame.Frame {
	return protoFrame(&pushdv1.ServerMessage{
		Message: &pushdv1.ServerMessage_Gap{Gap: protoGap(channel.String(), g)},
	})
}

func protoUnsubscribed(id jsontext.Value, types []string) *frame.Frame {
	return protoFrame(&pushdv1.ServerMessage{
		Id: protoID(id),
		Message: &pushdv1.ServerMessage_NotificationsUnsubscribed{
			NotificationsUnsubscribed: &pushdv1.NotificationsUnsubscribed{Types: types},
		},
	})
}

func protoSent(request command, a message.Accepted, at time.Time) *frame.Frame {
	m := &pushdv1.MessageSent{
		Channel:   request.about.String(),
		Timestamp: protoTime(at),
		Duplicate: a.Duplicate,
	}
	if !a.ID.IsZero() {
		m.MessageId = a.ID.String()
	}
	if !a.Position.IsZero() {
		m.Offset, m.Epoch = history.FormatOffset(a.Position.Offset), a.Position.Epoch
	}
	return protoFrame(&pushdv1.ServerMessage{
		Id: protoID(request.id), Message: &pushdv1.ServerMessage_MessageSent{MessageSent: m},
	})
}

func protoGoingAway(retryAfter time.Duration, reason string) *frame.Frame {
	return protoFrame(&pushdv1.ServerMessage{
		Message: &pushdv1.ServerMessage_GoingAway{GoingAway: &pushdv1.GoingAway{
			RetryAfter: durationpb.New(retryAfter.Truncate(time.Millisecond)), Reason: reason,
		}},
	})
}

func protoError(cmd command, f *fault, retryAfter time.Duration) *frame.Frame {
	m := &pushdv1.Error{
		Error: f.text, Code: f.code, Retryable: retryAfter > 0, Type: clip(cmd.kind, maxRequestID), Channel: cmd.subject(),
	}
	if retryAfter > 0 {
		m.RetryAfter = durationpb.New(retryAfter)
	}
	return protoFrame(&pushdv1.ServerMessage{Id: protoID(cmd.id), Message: &pushdv1.ServerMessage_Error{Error: m}})
}

func protoHistory(request command, a historyAnswer) *frame.Frame {
	m := &pushdv1.History{
		Channel: request.about.String(), Epoch: a.epoch, Messages: make([]*pushdv1.ServerMessage, len(a.messages)),
	}
	for i, kept := range a.messages {
		m.Messages[i] = protoMessage(kept, true)
	}
	if a.next != nil {
		m.Next = &pushdv1.Position{Epoch: a.next.epoch, Offset: history.FormatOffset(a.next.offset)}
	}
	if a.gap != nil {
		m.Gap = protoGap("", *a.gap)
	}
	return protoFrame(&pushdv1.ServerMessage{
		Id: protoID(request.id), Message: &pushdv1.ServerMessage_History{History: m},
	})
}
