package control

import (
	"context"
	"fmt"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// Bounds of one answer of GetHistory.
const (
	defaultHistory = 100
	maxHistory     = 1000
	// historyBytes bounds its payloads, unless there is only one: gRPC clients
	// read 4 MiB unless told otherwise.
	historyBytes = 3 << 20
)

// Reader reads what is stored.
type Reader interface {
	// Read returns stored messages of t. Errors are those of package message, or
	// the context's: message.ErrNotStored where nothing is kept.
	Read(ctx context.Context, t address.Target, q history.Query) (*history.Page, error)
}

// admin is the AdminService.
type admin struct {
	pushdv1.UnimplementedAdminServiceServer
	history Reader
}

// GetHistory implements the RPC.
func (a *admin) GetHistory(ctx context.Context, r *pushdv1.GetHistoryRequest) (*pushdv1.GetHistoryResponse, error) {
	var f fields
	target, noTarget := historyTarget(&f, r)
	q := historyQuery(&f, r)
	if err := f.err(); err != nil {
		return nil, err
	}
	if noTarget != nil {
		return nil, fmt.Errorf("make the target: %w", noTarget)
	}
	page, err := a.history.Read(ctx, target, q)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if epoch := r.GetEpoch(); epoch != "" && epoch != page.Epoch {
		return nil, errUnrecoverable
	}
	return historyAnswer(page), nil
}

func historyTarget(f *fields, r *pushdv1.GetHistoryRequest) (address.Target, error) {
	switch {
	case r.GetChannel() != "" && r.GetUserId() != "":
		f.refuse("user_id", reasonBadRequest, "must be empty with a channel")
		return address.Target{}, nil
	case r.GetUserId() != "":
		return address.UserTarget(f.tenant(r.GetTenantId()), f.user(r.GetUserId()))
	case r.GetChannel() != "":
		return address.ChannelTarget(f.channel(r.GetTenantId(), r.GetChannel()))
	default:
		f.refuse("channel", reasonBadRequest, "a channel or a user_id is required")
		return address.Target{}, nil
	}
}

func historyQuery(f *fields, r *pushdv1.GetHistoryRequest) history.Query {
	q := history.Query{Limit: defaultHistory, Bytes: historyBytes, Reverse: r.GetReverse()}
	switch limit := r.GetLimit(); {
	case limit > maxHistory:
		f.refuse("limit", reasonBadRequest, fmt.Sprintf("must be 1 to %d, or 0 for %d", maxHistory, defaultHistory))
	case limit > 0:
		q.Limit = int(limit)
	}
	if text := r.GetOffset(); text != "" {
		var err error
		q.After, err = history.ParseOffset(text)
		switch {
		case err != nil:
			f.refuse("offset", reasonBadRequest, "must be a decimal number")
		case q.After == 0 && q.Reverse:
			f.refuse("offset", reasonBadRequest, "must not be 0 with reverse: nothing stands before it")
		}
	}
	return q
}

func historyAnswer(page *history.Page) *pushdv1.GetHistoryResponse {
	out := &pushdv1.GetHistoryResponse{
		Epoch:    page.Epoch,
		Messages: make([]*pushdv1.HistoryMessage, 0, len(page.Messages)),
	}
	for _, m := range page.Messages {
		out.Messages = append(out.Messages, historyMessage(m))
	}
	if n := len(out.GetMessages()); page.More && n > 0 {
		out.NextOffset = out.GetMessages()[n-1].GetOffset()
	}
	return out
}

func historyMessage(m *message.Message) *pushdv1.HistoryMessage {
	return &pushdv1.HistoryMessage{
		MessageId:        m.ID.String(),
		Offset:           history.FormatOffset(m.Position.Offset),
		AcceptedAt:       timestamp(m.AcceptedAt),
		ExpiresAt:        timestamp(m.Deadline),
		NotificationType: m.NotificationType,
		Json:             string(m.Payload),
	}
}
