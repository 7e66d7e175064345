package edge

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	// maxKey bounds the key of a client's message, in bytes.
	maxKey = 64
	// maxSending bounds the messages of one connection that wait for an answer.
	maxSending = 256
)

// sendMessageLocked publishes a client's message to a channel.
func (c *conn) sendMessageLocked(cmd command) error {
	p, err := cmd.post()
	if err != nil {
		return err
	}
	cmd.about = p.channel
	key := ""
	if c.v1() {
		if key, err = c.parseKey(p.key); err != nil {
			return err
		}
	}
	target, err := address.ChannelTarget(c.principal.Tenant, p.channel)
	if err != nil || !c.loop.hub.opts.Policy.MayPublish(c.principal, p.channel) {
		return &fault{codePermissionDenied, textDenied}
	}
	now := c.loop.now
	m := &message.Message{
		ID:         message.NewID(),
		Target:     target,
		Exclude:    c.id,
		AcceptedAt: now,
		Key:        key,
		FromClient: true,
		Payload:    channelMessage(c, p.channel, p.text, now),
	}
	if c.v1() && (cmd.id != nil || key != "") {
		return c.submitLocked(cmd, m)
	}
	if err := c.loop.hub.bus.Enqueue(m); err != nil {
		return publishFault(err)
	}
	return nil
}

// submitLocked publishes m and answers cmd when m was accepted, if it has an id,
// or refused.
func (c *conn) submitLocked(cmd command, m *message.Message) error {
	rare := c.own()
	if rare.sending >= maxSending {
		return &fault{codeRateLimited, textRateLimited}
	}
	rare.sending++
	request, at := cmd.bare(), m.AcceptedAt
	done := func(a message.Accepted, err error) {
		// It may be called under the loop's mutex, or not.
		c.loop.call(func() { c.sentLocked(request, a, at, err) })
	}
	if err := c.loop.hub.bus.Submit(m, done); err != nil {
		rare.sending--
		c.tidyLocked()
		return publishFault(err)
	}
	return nil
}

// sentLocked answers request, a message that was taken at the time at.
func (c *conn) sentLocked(request command, a message.Accepted, at time.Time, err error) {
	c.seldom.sending--
	c.tidyLocked()
	switch {
	case c.state != stateOpen:
	case err != nil:
		c.refuseLocked(request, publishFault(err))
	case request.id != nil:
		if a.Duplicate && !a.ID.IsZero() {
			at = a.ID.Time()
		}
		c.sendLocked(messageSentFrame(c, request, a, at))
	}
}

// parseKey reads the key of a message: empty when there was none, else one that
// nobody but this user of this tenant can have, or this connection if it is
// anonymous: others may choose the same text, and in a public channel those of
// other tenants too.
func (c *conn) parseKey(text jsontext.Value) (string, error) {
	if text == nil {
		return "", nil
	}
	key, err := jsontext.AppendUnquote(nil, text)
	if text.Kind() != '"' || err != nil || len(key) == 0 || len(key) > maxKey || hasControl(string(key)) {
		return "", &fault{codeBadRequest, "Invalid key: it must be 1 to 64 bytes without control characters"}
	}
	owner := c.principal.User.String()
	if owner == "" {
		owner = "\x00" + c.id.String()
	}
	sum := sha256.Sum256([]byte(c.principal.Tenant.String() + "\x00" + owner + "\x00" + string(key)))
	return "client." + base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return true
		}
	}
	return false
}

func publishFault(err error) *fault {
	switch {
	case errors.Is(err, message.ErrTooLarge):
		return &fault{codeMessageTooLarge, "Message is too large"}
	case errors.Is(err, message.ErrKeyConflict):
		return &fault{codeKeyConflict, "The key was used for another message"}
	default:
		return &fault{codeUnavailable, textUnavailable}
	}
}
