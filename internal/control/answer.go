package control

import (
	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

func notified(a *message.Accepted) *pushdv1.NotifyUserResponse {
	return &pushdv1.NotifyUserResponse{
		MessageId: messageID(a), Offset: offset(a), Epoch: a.Position.Epoch,
		Duplicate: a.Duplicate, Receipt: receiptAnswer(a.Receipt),
	}
}

func broadcastToTenant(a *message.Accepted) *pushdv1.BroadcastTenantResponse {
	return &pushdv1.BroadcastTenantResponse{
		MessageId: messageID(a), Offset: offset(a), Epoch: a.Position.Epoch,
		Duplicate: a.Duplicate, Receipt: receiptAnswer(a.Receipt),
	}
}

func sentToChannel(a *message.Accepted) *pushdv1.SendChannelResponse {
	return &pushdv1.SendChannelResponse{
		MessageId: messageID(a), Offset: offset(a), Epoch: a.Position.Epoch,
		Duplicate: a.Duplicate, Receipt: receiptAnswer(a.Receipt),
	}
}

func broadcastToAll(a *message.Accepted) *pushdv1.BroadcastAllResponse {
	return &pushdv1.BroadcastAllResponse{
		MessageId: messageID(a), Offset: offset(a), Epoch: a.Position.Epoch,
		Duplicate: a.Duplicate, Receipt: receiptAnswer(a.Receipt),
	}
}

// messageID returns "" for a duplicate whose original is no longer kept: all that
// is known is that there was one.
func messageID(a *message.Accepted) string {
	if a.ID.IsZero() {
		return ""
	}
	return a.ID.String()
}

// offset returns "" for what is not stored.
func offset(a *message.Accepted) string {
	if a.Position.IsZero() {
		return ""
	}
	return history.FormatOffset(a.Position.Offset)
}
