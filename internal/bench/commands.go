package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// errNoCommands says that the server ended a stream although commands were to
// come.
var errNoCommands = errors.New("the server ended the stream of commands")

// commands sends commands on one Publish stream. A goroutine, ended by close,
// takes the answers. Safe for concurrent use.
type commands struct {
	stream grpc.BidiStreamingClient[pushdv1.PublishRequest, pushdv1.PublishResponse]
	cancel context.CancelFunc
	reader sync.WaitGroup
	// waiting has who waits for an answer, in the order of the commands; with as
	// many as it holds, more wait to be sent.
	waiting chan chan<- commandAnswer
	// ended is closed once cause is set: no more answers come.
	ended chan struct{}
	cause error
	// idle has channels for answers.
	idle sync.Pool

	sending sync.Mutex // held across a send, so that the orders agree
}

type commandAnswer struct {
	response *pushdv1.PublishResponse
	err      error
}

// openCommands opens a stream, which lasts until close; ctx bounds nothing but
// the opening of it.
func openCommands(ctx context.Context, api pushdv1.ControlServiceClient) (*commands, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	stream, err := api.Publish(own)
	if !stop() || err != nil {
		cancel()
		return nil, fmt.Errorf("open a stream of commands: %w", errors.Join(err, ctx.Err()))
	}
	c := &commands{
		stream: stream, cancel: cancel, waiting: make(chan chan<- commandAnswer, maxInFlight), ended: make(chan struct{}),
		idle: sync.Pool{New: func() any { return make(chan commandAnswer, 1) }},
	}
	c.reader.Go(c.read)
	return c, nil
}

// read hands the answers to those who wait.
func (c *commands) read() {
	defer close(c.ended)
	for {
		r, err := c.stream.Recv()
		if err != nil {
			c.cause = errors.Join(errNoCommands, err)
			return
		}
		select {
		case to := <-c.waiting:
			to <- commandAnswer{r, refusal(r)}
		default:
			c.cause = errors.New("the server answered a command that was not sent")
			return
		}
	}
}

// refusal returns the error of a command that was refused.
func refusal(r *pushdv1.PublishResponse) error {
	told := r.GetRefused()
	if told == nil {
		return nil
	}
	return status.FromProto(&spb.Status{Code: told.GetCode(), Message: told.GetMessage(), Details: told.GetDetails()}).Err()
}

// do sends one command and waits for its answer.
func (c *commands) do(ctx context.Context, r *pushdv1.PublishRequest) (*pushdv1.PublishResponse, error) {
	answer, _ := c.idle.Get().(chan commandAnswer)
	if err := c.send(r, answer); err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		c.idle.Put(answer)
		if a.err != nil {
			return nil, fmt.Errorf("Publish: %w", a.err)
		}
		return a.response, nil
	case <-c.ended:
		return nil, c.cause
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}

func (c *commands) send(r *pushdv1.PublishRequest, answer chan<- commandAnswer) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	select {
	case c.waiting <- answer:
	case <-c.ended:
		return c.cause
	}
	if c.stream.Send(r) != nil {
		<-c.ended // What it was about comes where answers do.
		return c.cause
	}
	return nil
}

// close ends the stream and waits.
func (c *commands) close() {
	c.cancel()
	c.reader.Wait()
}
