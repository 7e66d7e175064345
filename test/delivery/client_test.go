package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/aegisx/pushd/test/delivery"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// visitMost is how long a client stays connected at most, awayMost how long it
	// is away.
	visitMost = 3 * time.Second
	awayMost  = 400 * time.Millisecond
	// silence ends the last visit of a client that waits for what does not come.
	silence = time.Minute
)

// inbox stands for a user's notifications where a channel is named.
const inbox = "inbox of "

// client is a user who comes, goes, and resumes where it stopped, on any node.
type client struct {
	tenant, user, token string
	nodes               []*member
	ledger              *delivery.Ledger
	// tracks are the feeds that it follows, by channel; "" is its inbox.
	tracks map[string]*delivery.Track
	epoch  string
	visits int
	// trace is what happened last.
	trace []string
}

// traceMost bounds the trace of a client.
const traceMost = 200

// note keeps what helps to understand a fault.
func (c *client) note(format string, args ...any) {
	if len(c.trace) >= 2*traceMost {
		c.trace = slices.Delete(c.trace, 0, traceMost)
	}
	c.trace = append(c.trace, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func newClient(l *delivery.Ledger, nodes []*member, tenant, user string, channels []string) (*client, error) {
	token, err := harness.Sign(secret, map[string]any{"tenantId": tenant, "userId": user, "channels": []string{"room:*"}})
	if err != nil {
		return nil, err
	}
	c := &client{
		tenant: tenant, user: user, token: token, nodes: nodes, ledger: l, tracks: make(map[string]*delivery.Track),
	}
	name := tenant + "/" + user
	for _, channel := range channels {
		c.tracks[channel] = l.Track(name, delivery.Feed{Tenant: tenant, Channel: channel})
	}
	c.tracks[""] = l.Track(name, delivery.Feed{Tenant: tenant, Channel: inbox + user})
	return c, nil
}

// run comes and goes until published is closed, and then stays until it has all.
// joined is called after the first visit has begun.
func (c *client) run(ctx context.Context, seed uint64, published <-chan struct{}, joined func()) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		last := false
		select {
		case <-published:
			last = true
		default:
		}
		limit := visitMost
		if !last {
			limit = time.Duration(rng.Int64N(int64(visitMost)))
		}
		done := c.visit(ctx, c.nodes[rng.IntN(len(c.nodes))], limit, last, joined)
		if last && done {
			return
		}
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(awayMost)))):
		case <-published:
		case <-ctx.Done():
		}
	}
}

// visit connects to a node, resumes, and reads for a while; on the last visit
// until it has all, or nothing has come for long. It reports whether it has. That a
// node is away is no fault.
func (c *client) visit(ctx context.Context, n *member, limit time.Duration, last bool, joined func()) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := harness.Dial(ctx, n.WebSocket(), c.token, http.Header{"Sec-Websocket-Protocol": {"pushd.v1.json"}})
	if err != nil {
		return false
	}
	defer func() { _ = s.Close() }()
	c.visits++
	c.note("visit %d: %s", c.visits, n.Name)
	for _, t := range c.tracks {
		t.Reconnect()
	}
	if err := c.resume(s); err != nil {
		return false
	}
	answers := 0
	end := time.AfterFunc(limit, cancel)
	defer end.Stop()
	for {
		if last {
			if answers == len(c.tracks) && c.complete() {
				return true
			}
			end.Reset(silence)
		}
		m, err := s.Next(ctx)
		if err != nil {
			if last && ctx.Err() != nil {
				// What is missing is found by Finish.
				return true
			}
			return false
		}
		answer, err := c.take(m)
		if err != nil {
			c.ledger.Fault("%s/%s: %v: %s", c.tenant, c.user, err, m.Text)
			return true
		}
		if answer {
			if answers++; answers == len(c.tracks) && joined != nil {
				joined()
			}
		}
	}
}

// complete reports whether the client has all that was accepted.
func (c *client) complete() bool {
	for _, t := range c.tracks {
		if !t.Complete() {
			return false
		}
	}
	return true
}

// resume asks for all feeds, from where they stopped.
func (c *client) resume(s *harness.Socket) error {
	for channel, t := range c.tracks {
		data := map[string]any{"channel": channel}
		kind := "join_channel"
		if channel == "" {
			data = map[string]any{"types": []string{"all"}}
			kind = "subscribe_notifications"
		}
		if offset, ok := t.Resume(); ok {
			data["recover"] = map[string]string{"epoch": c.epoch, "offset": strconv.FormatUint(offset, 10)}
		}
		if err := s.Send(kind, data); err != nil {
			return err
		}
	}
	return nil
}

// frame is what the server sends, of all types.
type frame struct {
	Type    string          `json:"type"`
	Channel string          `json:"channel"`
	Offset  string          `json:"offset"`
	Data    json.RawMessage `json:"data"`
}

// position is the part of answers that says where the client stands.
type position struct {
	Channel   string `json:"channel"`
	Epoch     string `json:"epoch"`
	Offset    string `json:"offset"`
	Recovered bool   `json:"recovered"`
	Gap       *hole  `json:"gap"`
}

type hole struct {
	Channel string `json:"channel"`
	From    string `json:"from"`
	To      string `json:"to"`
	Reason  string `json:"reason"`
}

// payload is what publishers send.
type payload struct {
	Tenant  string `json:"tenant"`
	Channel string `json:"channel"`
	N       int    `json:"n"`
}

// take notes one message of the server. answer says that it answers a resume.
func (c *client) take(m harness.Message) (answer bool, err error) {
	var f frame
	if err := json.Unmarshal([]byte(m.Text), &f); err != nil {
		return false, err
	}
	c.note("%s", m.Text)
	switch f.Type {
	case "channel_joined", "notifications_subscribed":
		return true, c.takeAnswer(f)
	case "gap":
		var g hole
		if err := json.Unmarshal(f.Data, &g); err != nil {
			return false, err
		}
		return false, c.takeGap(g.Channel, &g)
	case "event", "notification":
		return false, c.takeMessage(f)
	case "going_away":
		return false, nil
	default:
		return false, errors.New("unexpected message")
	}
}

func (c *client) takeAnswer(f frame) error {
	var p position
	if err := json.Unmarshal(f.Data, &p); err != nil {
		return err
	}
	t, ok := c.tracks[p.Channel]
	if !ok {
		return errors.New("an answer for a channel that nobody asked for")
	}
	offset, err := strconv.ParseUint(p.Offset, 10, 64)
	if err != nil {
		return fmt.Errorf("offset: %w", err)
	}
	if c.epoch != "" && c.epoch != p.Epoch {
		return errors.New("the epoch has changed")
	}
	c.epoch = p.Epoch
	if _, again := t.Resume(); !again {
		t.Join(offset)
		return nil
	}
	if p.Gap != nil {
		return c.takeGap(p.Channel, p.Gap)
	}
	if !p.Recovered {
		return errors.New("neither recovered nor a gap")
	}
	return nil
}

func (c *client) takeGap(channel string, g *hole) error {
	t, ok := c.tracks[channel]
	if !ok {
		return errors.New("a gap in a channel that nobody asked for")
	}
	from, err := strconv.ParseUint(g.From, 10, 64)
	if err != nil {
		return fmt.Errorf("gap: %w", err)
	}
	to, err := strconv.ParseUint(g.To, 10, 64)
	if err != nil {
		return fmt.Errorf("gap: %w", err)
	}
	t.Gap(from, to)
	return nil
}

func (c *client) takeMessage(f frame) error {
	var p payload
	if err := json.Unmarshal(f.Data, &p); err != nil {
		return err
	}
	t, ok := c.tracks[f.Channel]
	if !ok {
		return errors.New("a message of a channel that was not joined")
	}
	if f.Type == "notification" && f.Offset == "" {
		t.Early(delivery.Feed{Tenant: p.Tenant, Channel: p.Channel}, p.N)
		return nil
	}
	offset, err := strconv.ParseUint(f.Offset, 10, 64)
	if err != nil {
		return fmt.Errorf("offset: %w", err)
	}
	t.Message(delivery.Feed{Tenant: p.Tenant, Channel: p.Channel}, p.N, offset)
	return nil
}
