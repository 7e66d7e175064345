package control

import (
	"context"
	"fmt"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// Router is what the Control API needs of the cluster. Its methods are called
// concurrently; those with a context return when it ends.
type Router interface {
	Publisher
	Reader
	// Stats sums the figures of the cluster. Unless fresh they may be a
	// second old.
	Stats(ctx context.Context, q stats.Query, fresh bool) (*stats.Cluster, error)
	// Ready reports whether messages can be exchanged.
	Ready() bool
}

// Publisher takes messages.
type Publisher interface {
	// Publish takes m over and returns when NATS has it, has stored it where it
	// is kept, and has a receipt if m asks for one. Errors are those of package
	// message, or the context's.
	Publish(ctx context.Context, m *message.Message) (message.Accepted, error)
	// Submit takes m, which asks for no receipt, and calls done once with what
	// Publish would return, unless it returns an error. Messages for one target
	// go out in the order of the calls, those of Publish among them. It does not
	// wait. done may be called before Submit returns, and must not block.
	Submit(m *message.Message, done func(message.Accepted, error)) error
	// Keeps reports whether messages for t are stored by rule and can be.
	Keeps(t address.Target) bool
}

// service is the ControlService: it checks requests and hands them on.
type service struct {
	pushdv1.UnimplementedControlServiceServer
	router  Router
	compose composer
	guard   *guard // of the commands of a stream
}

// NotifyUser implements the RPC.
func (s *service) NotifyUser(ctx context.Context, r *pushdv1.NotifyUserRequest) (*pushdv1.NotifyUserResponse, error) {
	m, err := s.notification(r)
	if err != nil {
		return nil, err
	}
	a, err := s.publish(ctx, m)
	if err != nil {
		return nil, err
	}
	return notified(&a), nil
}

// BroadcastTenant implements the RPC.
func (s *service) BroadcastTenant(ctx context.Context, r *pushdv1.BroadcastTenantRequest) (*pushdv1.BroadcastTenantResponse, error) {
	m, err := s.tenantEvent(r)
	if err != nil {
		return nil, err
	}
	a, err := s.publish(ctx, m)
	if err != nil {
		return nil, err
	}
	return broadcastToTenant(&a), nil
}

// SendChannel implements the RPC.
func (s *service) SendChannel(ctx context.Context, r *pushdv1.SendChannelRequest) (*pushdv1.SendChannelResponse, error) {
	m, err := s.channelEvent(r)
	if err != nil {
		return nil, err
	}
	a, err := s.publish(ctx, m)
	if err != nil {
		return nil, err
	}
	return sentToChannel(&a), nil
}

// BroadcastAll implements the RPC.
func (s *service) BroadcastAll(ctx context.Context, r *pushdv1.BroadcastAllRequest) (*pushdv1.BroadcastAllResponse, error) {
	m, err := s.allEvent(r)
	if err != nil {
		return nil, err
	}
	a, err := s.publish(ctx, m)
	if err != nil {
		return nil, err
	}
	return broadcastToAll(&a), nil
}

// publish gives m away and waits.
func (s *service) publish(ctx context.Context, m *message.Message) (message.Accepted, error) {
	m.TraceParent = traceParent(ctx)
	a, err := s.router.Publish(ctx, m)
	if err != nil {
		return message.Accepted{}, fmt.Errorf("publish: %w", err)
	}
	return a, nil
}

// notification returns the message that r asks for.
func (s *service) notification(r *pushdv1.NotifyUserRequest) (*message.Message, error) {
	var f fields
	tenant, user := f.tenant(r.GetTenantId()), f.user(r.GetUserId())
	m := &message.Message{
		ID:               message.NewID(),
		NotificationType: f.notificationType(r.GetNotificationType()),
		Payload:          s.compose.notification(&f, notificationContent(r)),
	}
	var err error
	m.Target, err = address.UserTarget(tenant, user)
	return s.finish(&f, r, m, err)
}

// tenantEvent returns the message that r asks for.
func (s *service) tenantEvent(r *pushdv1.BroadcastTenantRequest) (*message.Message, error) {
	var f fields
	tenant := f.tenant(r.GetTenantId())
	m := &message.Message{
		ID:      message.NewID(),
		Payload: s.compose.event(&f, r.GetEventType(), tenantContent(r)),
	}
	var err error
	m.Target, err = address.TenantTarget(tenant)
	return s.finish(&f, r, m, err)
}

// channelEvent returns the message that r asks for.
func (s *service) channelEvent(r *pushdv1.SendChannelRequest) (*message.Message, error) {
	var f fields
	tenant, channel := f.channel(r.GetTenantId(), r.GetChannel())
	m := &message.Message{
		ID:      message.NewID(),
		Payload: s.compose.event(&f, r.GetEventType(), channelContent(r)),
	}
	var err error
	m.Target, err = address.ChannelTarget(tenant, channel)
	return s.finish(&f, r, m, err)
}

// allEvent returns the message that r asks for.
func (s *service) allEvent(r *pushdv1.BroadcastAllRequest) (*message.Message, error) {
	var f fields
	m := &message.Message{
		ID:      message.NewID(),
		Target:  address.AllTarget(),
		Payload: s.compose.event(&f, r.GetEventType(), allContent(r)),
	}
	return s.finish(&f, r, m, nil)
}

// finish reads the options into m. The error is about the request as a whole:
// all that is wrong with it, else why it has no target.
func (s *service) finish(f *fields, r delivery, m *message.Message, noTarget error) (*message.Message, error) {
	s.deliver(f, r, m)
	if err := f.err(); err != nil {
		return nil, err
	}
	if noTarget != nil {
		return nil, fmt.Errorf("make the target: %w", noTarget)
	}
	return m, nil
}
