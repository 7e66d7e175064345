package edge

import (
	"context"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// maxHistory bounds the messages of one answer, and is how many come unless the
// client says so.
const maxHistory = 100

// Refusals of a get_history.
var (
	errLimit         = &fault{codeBadRequest, "Invalid limit: it must be 1 to " + strconv.Itoa(maxHistory)}
	errNoHistory     = &fault{codeNotAvailable, "The channel has no history"}
	errUnrecoverable = &fault{codeUnrecoverable, "The history has begun anew since that position"}
)

// excerpt is what a client asks of the history of a channel.
type excerpt struct {
	channel address.Channel
	// since is nil when the client has no position.
	since   *resume
	limit   int
	reverse bool
}

// excerpt reads what part of a history is asked for.
func (cmd command) excerpt() (excerpt, error) {
	var data struct {
		Channel *string        `json:"channel"`
		Since   jsontext.Value `json:"since"`
		Limit   *int           `json:"limit"`
		Reverse bool           `json:"reverse"`
	}
	if err := cmd.decode(&data); err != nil {
		return excerpt{}, err
	}
	e := excerpt{limit: maxHistory, reverse: data.Reverse}
	var err error
	if e.channel, err = parseChannel(data.Channel); err != nil {
		return excerpt{}, err
	}
	if data.Limit != nil {
		e.limit = *data.Limit
	}
	if e.limit < 1 || e.limit > maxHistory {
		return excerpt{}, errLimit
	}
	e.since, err = parsePosition(data.Since)
	return e, err
}

// historyLocked reads the history of a channel for c, in a goroutine.
func (c *conn) historyLocked(cmd command) error {
	asked, err := cmd.excerpt()
	if err != nil {
		return err
	}
	h := c.loop.hub
	target, err := address.ChannelTarget(c.principal.Tenant, asked.channel)
	if err != nil || !h.opts.Policy.MayJoin(c.principal, asked.channel) {
		return &fault{codePermissionDenied, textAccessDenied}
	}
	if h.history == nil || !h.history.Keeps(target) {
		return errNoHistory
	}
	if c.seldom != nil && c.seldom.reading {
		return &fault{codeRateLimited, textRateLimited}
	}
	cmd.about = asked.channel
	request := cmd.bare()
	started := h.reads.start(c.principal.Tenant, func(ctx context.Context) {
		f, err := c.readHistory(ctx, request, target, asked)
		c.loop.call(func() { c.historyReadLocked(request, f, err) })
	})
	if !started {
		return &fault{codeUnavailable, textUnavailable}
	}
	c.own().reading = true
	return nil
}

// readHistory waits for the history and returns the answer, or a *fault. No lock
// is held: it uses only what of c is set once.
func (c *conn) readHistory(ctx context.Context, request command, t address.Target, asked excerpt) (*frame.Frame, error) {
	h := c.loop.hub
	q := history.Query{Limit: asked.limit, Bytes: h.opts.OutboundQueueBytes / 2, Reverse: asked.reverse}
	if asked.since != nil {
		q.After = asked.since.offset
	}
	page, err := h.history.Read(ctx, t, q)
	if err != nil {
		return nil, publishFault(err)
	}
	if asked.since != nil && asked.since.epoch != page.Epoch {
		return nil, errUnrecoverable
	}
	return historyFrame(c, request, newHistoryAnswer(page, asked)), nil
}

// historyReadLocked sends what readHistory made.
func (c *conn) historyReadLocked(request command, f *frame.Frame, err error) {
	c.seldom.reading = false
	c.tidyLocked()
	if c.state != stateOpen {
		return
	}
	if err != nil {
		if err := c.answerLocked(request, err); err != nil {
			c.failLocked(err)
		}
		return
	}
	c.sendLocked(f)
}

// historyAnswer is an excerpt of a history.
type historyAnswer struct {
	epoch    string
	messages []*message.Message
	// next is where to go on; nil: that was all.
	next *resume
	// gap is nil where nothing can be missing since the position asked for.
	gap *gap
}

func newHistoryAnswer(page *history.Page, asked excerpt) historyAnswer {
	a := historyAnswer{epoch: page.Epoch, messages: page.Messages}
	if n := len(a.messages); n > 0 && page.More {
		a.next = &resume{page.Epoch, a.messages[n-1].Position.Offset}
	}
	if asked.since != nil && !asked.reverse && page.Gap != "" {
		a.gap = &gap{from: asked.since.offset, to: asked.since.offset, reason: page.Gap}
		if len(a.messages) > 0 {
			a.gap.to = a.messages[0].Position.Offset - 1
		}
	}
	return a
}

// historyFrame answers a get_history. It is not for the plain dialect.
func historyFrame(c *conn, request command, a historyAnswer) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoHistory(request, a)
	}
	b := appendHead(nil, "history", request.id)
	b = appendMember(b, "channel", request.about.String())
	b = appendMember(b, "epoch", a.epoch)
	b = append(appendName(b, "messages"), '[')
	for i, m := range a.messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, m, true)
	}
	b = append(b, ']')
	if a.next != nil {
		b = appendPosition(b, "next", *a.next)
	}
	if a.gap != nil {
		b = append(appendName(b, "gap"), '{')
		b = append(appendGap(b, *a.gap), '}')
	}
	return frame.Text(append(b, endOfData...))
}
