package control

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/message"
)

// command is a kind of command of a Publish stream.
type command uint8

const (
	commandUnknown command = iota
	commandNotifyUser
	commandBroadcastTenant
	commandSendChannel
	commandBroadcastAll

	commands int = iota
)

// String is the label of the metrics.
func (c command) String() string {
	switch c {
	case commandNotifyUser:
		return "notify_user"
	case commandBroadcastTenant:
		return "broadcast_tenant"
	case commandSendChannel:
		return "send_channel"
	case commandBroadcastAll:
		return "broadcast_all"
	default:
		return "unknown"
	}
}

// publisher is one Publish stream. The goroutine of the call answers; another
// one reads and hands on. A command that wants a receipt has one of its own
// while it waits.
type publisher struct {
	service  *service
	stream   grpc.BidiStreamingServer[pushdv1.PublishRequest, pushdv1.PublishResponse]
	trace    string
	pipeline *pipeline
}

// Publish implements the RPC.
func (s *service) Publish(stream grpc.BidiStreamingServer[pushdv1.PublishRequest, pushdv1.PublishResponse]) error {
	p := &publisher{service: s, stream: stream, trace: traceParent(stream.Context()), pipeline: newPipeline()}
	// It ends with the stream at the latest.
	s.guard.background.Go(func() {
		err := s.guard.recovered(p.method(), p.caller(), p.read)
		// When something went wrong there may be no end to wait for.
		p.pipeline.end(err, err == nil)
	})
	return p.answer()
}

// read takes commands until the caller sends no more, or none is wanted.
func (p *publisher) read() error {
	var request pushdv1.PublishRequest
	for p.pipeline.hasRoom() {
		var c command
		var m *message.Message
		err := p.stream.RecvMsg(&request)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errUnreadable):
		case err != nil:
			return err //nolint:wrapcheck // It is gRPC's own.
		default:
			c, m, err = p.service.command(&request)
		}
		place := p.pipeline.add(c, m)
		switch {
		case place == nil:
			return nil
		case err != nil:
			place.finish(message.Accepted{}, err)
		default:
			p.handOn(m, place.finish)
		}
	}
	return nil
}

// command returns the message that r asks for.
func (s *service) command(r *pushdv1.PublishRequest) (c command, m *message.Message, err error) {
	switch r := r.GetCommand().(type) {
	case *pushdv1.PublishRequest_NotifyUser:
		c = commandNotifyUser
		m, err = s.notification(r.NotifyUser)
	case *pushdv1.PublishRequest_BroadcastTenant:
		c = commandBroadcastTenant
		m, err = s.tenantEvent(r.BroadcastTenant)
	case *pushdv1.PublishRequest_SendChannel:
		c = commandSendChannel
		m, err = s.channelEvent(r.SendChannel)
	case *pushdv1.PublishRequest_BroadcastAll:
		c = commandBroadcastAll
		m, err = s.allEvent(r.BroadcastAll)
	default:
		var f fields
		f.refuse("command", reasonBadRequest, "is required")
		err = f.err()
	}
	return c, m, err
}

// handOn gives m away. finish is called once, then or later.
func (p *publisher) handOn(m *message.Message, finish func(message.Accepted, error)) {
	m.TraceParent = p.trace
	if m.Receipt.Level == message.LevelNone {
		if err := p.service.router.Submit(m, finish); err != nil {
			finish(message.Accepted{}, fmt.Errorf("publish: %w", err))
		}
		return
	}
	// It ends with the context of the stream at the latest. The pipeline bounds
	// their number, and keeps messages for the same target behind it.
	p.service.guard.background.Go(func() {
		var a message.Accepted
		err := p.service.guard.recovered(p.method(), p.caller(), func() error {
			var err error
			a, err = p.service.router.Publish(p.stream.Context(), m)
			return err
		})
		if err != nil {
			err = fmt.Errorf("publish: %w", err)
		}
		finish(a, err)
	})
}

// answer answers what is finished, in its order, until the stream is done.
func (p *publisher) answer() error {
	ctx, quit := p.stream.Context(), p.service.guard.quit
	finished := make([]*place, 0, maxAnswers)
	for {
		finished = p.pipeline.finished(finished[:0])
		for _, x := range finished {
			if err := p.stream.SendMsg(p.response(x)); err != nil {
				p.pipeline.end(err, false)
				return fmt.Errorf("answer: %w", err)
			}
		}
		if len(finished) > 0 {
			p.pipeline.release(len(finished))
			continue
		}
		if done, err := p.pipeline.result(); done {
			return err
		}
		select {
		case <-p.pipeline.changed:
		case <-quit:
			p.pipeline.end(errStopping, true)
			quit = nil
		case <-ctx.Done():
			p.pipeline.end(ctx.Err(), false)
			return fmt.Errorf("publish: %w", context.Cause(ctx))
		}
	}
}

// response returns the answer to a command that is finished, and counts it.
func (p *publisher) response(x *place) *pushdv1.PublishResponse {
	g := p.service.guard
	if x.err != nil {
		st, known := statusOf(x.err)
		if !known {
			g.log.Error("control command failed", "command", x.command.String(), "caller", p.caller(), "error", x.err)
		}
		g.metrics.refused(x.command, st.Code())
		told := st.Proto()
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_Refused{Refused: &pushdv1.Refusal{
			Code: told.GetCode(), Message: told.GetMessage(), Details: told.GetDetails(),
		}}}
	}
	g.metrics.accepted[x.command].Inc()
	switch x.command {
	case commandNotifyUser:
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_NotifyUser{NotifyUser: notified(&x.accepted)}}
	case commandBroadcastTenant:
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_BroadcastTenant{BroadcastTenant: broadcastToTenant(&x.accepted)}}
	case commandSendChannel:
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_SendChannel{SendChannel: sentToChannel(&x.accepted)}}
	default:
		return &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_BroadcastAll{BroadcastAll: broadcastToAll(&x.accepted)}}
	}
}

// method is what the guard logs after a panic.
func (p *publisher) method() *method {
	return &method{name: pushdv1.ControlService_Publish_FullMethodName, stream: true}
}

// caller returns the name of the key that the stream carries.
func (p *publisher) caller() string {
	name, err := authorize(p.stream.Context(), p.service.guard.keys)
	if err != nil {
		return "" // the guard let it in
	}
	return name
}
