package control

import (
	"context"
	"fmt"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// Router is what the Control API needs of the cluster. Its methods are called
// concurrently and return when their context ends.
type Router interface {
	// Publish takes m over and returns when NATS has it. Errors are those of
	// package message, or the context's.
	Publish(ctx context.Context, m *message.Message) (message.Accepted, error)
	// Stats sums the figures of the cluster. Unless fresh they may be a
	// second old.
	Stats(ctx context.Context, q stats.Query, fresh bool) (*stats.Cluster, error)
	// Ready reports whether messages can be exchanged.
	Ready() bool
}

// service is the ControlService: it checks requests and hands them on.
type service struct {
	pushdv1.UnimplementedControlServiceServer
	router  Router
	compose composer
}

// NotifyUser implements the RPC.
func (s *service) NotifyUser(ctx context.Context, r *pushdv1.NotifyUserRequest) (*pushdv1.NotifyUserResponse, error) {
	var f fields
	tenant, user := f.tenant(r.GetTenantId()), f.user(r.GetUserId())
	kind := f.notificationType(r.GetNotificationType())
	payload := s.compose.notification(&f, notification(r))
	if err := f.err(); err != nil {
		return nil, err
	}
	target, err := address.UserTarget(tenant, user)
	if err != nil {
		return nil, fmt.Errorf("notify user: %w", err)
	}
	id, err := s.publish(ctx, &message.Message{Target: target, NotificationType: kind, Payload: payload})
	if err != nil {
		return nil, err
	}
	return &pushdv1.NotifyUserResponse{MessageId: id}, nil
}

// BroadcastTenant implements the RPC.
func (s *service) BroadcastTenant(ctx context.Context, r *pushdv1.BroadcastTenantRequest) (*pushdv1.BroadcastTenantResponse, error) {
	var f fields
	tenant := f.tenant(r.GetTenantId())
	payload := s.compose.event(&f, r.GetEventType(), tenantEvent(r))
	if err := f.err(); err != nil {
		return nil, err
	}
	target, err := address.TenantTarget(tenant)
	if err != nil {
		return nil, fmt.Errorf("broadcast to tenant: %w", err)
	}
	id, err := s.publish(ctx, &message.Message{Target: target, Payload: payload})
	if err != nil {
		return nil, err
	}
	return &pushdv1.BroadcastTenantResponse{MessageId: id}, nil
}

// SendChannel implements the RPC.
func (s *service) SendChannel(ctx context.Context, r *pushdv1.SendChannelRequest) (*pushdv1.SendChannelResponse, error) {
	var f fields
	tenant, channel := f.channel(r.GetTenantId(), r.GetChannel())
	payload := s.compose.event(&f, r.GetEventType(), channelEvent(r))
	if err := f.err(); err != nil {
		return nil, err
	}
	target, err := address.ChannelTarget(tenant, channel)
	if err != nil {
		return nil, fmt.Errorf("send to channel: %w", err)
	}
	id, err := s.publish(ctx, &message.Message{Target: target, Payload: payload})
	if err != nil {
		return nil, err
	}
	return &pushdv1.SendChannelResponse{MessageId: id}, nil
}

// BroadcastAll implements the RPC.
func (s *service) BroadcastAll(ctx context.Context, r *pushdv1.BroadcastAllRequest) (*pushdv1.BroadcastAllResponse, error) {
	var f fields
	payload := s.compose.event(&f, r.GetEventType(), allEvent(r))
	if err := f.err(); err != nil {
		return nil, err
	}
	id, err := s.publish(ctx, &message.Message{Target: address.AllTarget(), Payload: payload})
	if err != nil {
		return nil, err
	}
	return &pushdv1.BroadcastAllResponse{MessageId: id}, nil
}

// publish names m and gives it away.
func (s *service) publish(ctx context.Context, m *message.Message) (id string, err error) {
	m.ID = message.NewID()
	m.AcceptedAt = time.Now()
	m.TraceParent = traceParent(ctx)
	id = m.ID.String()
	if _, err := s.router.Publish(ctx, m); err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	return id, nil
}

func notification(r *pushdv1.NotifyUserRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.NotifyUserRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.NotifyUserRequest_Data:
		return content{field: fieldData, data: p.Data}
	default:
		return content{}
	}
}

func tenantEvent(r *pushdv1.BroadcastTenantRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.BroadcastTenantRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.BroadcastTenantRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.BroadcastTenantRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}

func channelEvent(r *pushdv1.SendChannelRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.SendChannelRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.SendChannelRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.SendChannelRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}

func allEvent(r *pushdv1.BroadcastAllRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.BroadcastAllRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.BroadcastAllRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.BroadcastAllRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}
