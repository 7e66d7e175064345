package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/delivery"
	"github.com/aegisx/pushd/test/harness"
)

// publisherPause is how long a publisher waits after a stream that broke.
const publisherPause = 50 * time.Millisecond

// window is how many commands of a publisher wait for their answer.
const window = 128

// publisher sends to its feeds in turn, over one stream, until it has sent its
// share. What has no answer when the stream breaks is sent again, with the same
// keys, over a stream to the next node.
type publisher struct {
	name   string
	nodes  []*member
	ledger *delivery.Ledger
	feeds  []delivery.Feed
	share  int
	// pace is the pause after each command; 0: none.
	pace time.Duration

	sent    map[delivery.Feed]int
	waiting []command
	// refused counts commands that were refused and sent again.
	refused int
}

// command is message number n of a feed.
type command struct {
	feed delivery.Feed
	n    int
}

func (p *publisher) run(ctx context.Context) error {
	p.sent = make(map[delivery.Feed]int)
	total := 0
	for at := 0; total < p.share || len(p.waiting) > 0; at++ {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %d of %d: %w", p.name, total, p.share, ctx.Err())
		}
		n, err := p.stream(ctx, p.nodes[at%len(p.nodes)], p.share-total)
		total += n
		if err != nil {
			p.ledger.Disorder()
			select {
			case <-time.After(publisherPause):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// stream sends up to most new commands over one stream and returns how many.
func (p *publisher) stream(ctx context.Context, node *member, most int) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	api, conn, err := harness.Control(node.GRPC)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	s, err := api.Publish(ctx)
	if err != nil {
		return 0, err
	}
	again := len(p.waiting)
	fresh, next := 0, 0 // next is the first of waiting that was not sent on this stream
	for {
		for len(p.waiting) < window && fresh < most && next >= min(again, len(p.waiting)) {
			f := p.feeds[fresh%len(p.feeds)]
			p.sent[f]++
			p.waiting = append(p.waiting, command{f, p.sent[f]})
			fresh++
			if p.pace > 0 {
				break
			}
		}
		for ; next < len(p.waiting); next++ {
			if err := s.Send(p.request(p.waiting[next])); err != nil {
				return fresh, err
			}
		}
		if len(p.waiting) == 0 {
			return fresh, nil
		}
		answer, err := s.Recv()
		if err != nil {
			return fresh, err
		}
		if err := p.take(p.waiting[0], answer); err != nil {
			return fresh, err
		}
		p.waiting = p.waiting[1:]
		next--
		again = max(0, again-1)
		if p.pace > 0 {
			select {
			case <-time.After(p.pace):
			case <-ctx.Done():
			}
		}
	}
}

func (p *publisher) request(c command) *pushdv1.PublishRequest {
	text, err := json.Marshal(payload{c.feed.Tenant, c.feed.Channel, c.n})
	if err != nil {
		p.ledger.Fault("%s: %v", p.name, err)
	}
	key := p.name + "-" + c.feed.Channel + "-" + strconv.Itoa(c.n)
	if user, ok := strings.CutPrefix(c.feed.Channel, inbox); ok {
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: &pushdv1.NotifyUserRequest{
			TenantId: c.feed.Tenant, UserId: user, IdempotencyKey: key,
			Payload: &pushdv1.NotifyUserRequest_Json{Json: string(text)},
		}}}
	}
	return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_SendChannel{SendChannel: &pushdv1.SendChannelRequest{
		TenantId: c.feed.Tenant, Channel: c.feed.Channel, EventType: "event", IdempotencyKey: key,
		Payload: &pushdv1.SendChannelRequest_Json{Json: string(text)},
	}}}
}

// take notes an answer. A refusal ends the stream: all that waits is sent again,
// in order.
func (p *publisher) take(c command, answer *pushdv1.PublishResponse) error {
	var offset string
	switch r := answer.GetResult().(type) {
	case *pushdv1.PublishResponse_NotifyUser:
		offset = r.NotifyUser.GetOffset()
	case *pushdv1.PublishResponse_SendChannel:
		offset = r.SendChannel.GetOffset()
	case *pushdv1.PublishResponse_Refused:
		p.refused++
		return fmt.Errorf("refused: %s", r.Refused.GetMessage())
	default:
		return errors.New("an answer to something else")
	}
	n, _ := strconv.ParseUint(offset, 10, 64) // 0, which is a fault, if there is none
	p.ledger.Accept(c.feed, c.n, n)
	return nil
}
