package edge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
	"github.com/aegisx/pushd/internal/edge/frame"
)

// pendingJoin is a join whose interest is not live yet, or that waits for its
// turn in a feed. One reference of interest is held for each target.
type pendingJoin struct {
	targets []address.Target
	// types are the notification types that come with the targets.
	types []string
	// waiting counts the targets whose interest is not live.
	waiting int
	failed  error
	// follows is the stored target that the client will follow; zero: none.
	follows address.Target
	// resume is where the client has been in it; nil: it did not ask.
	resume *resume
	// at is where the client begins to follow, and replay what it has missed.
	at     *joined
	replay []*event
	// answer makes what the client gets when the join has worked.
	answer func(at *joined) *frame.Frame
	// request is what is answered when it has not; without its data.
	request command
	// then holds what came meanwhile and must follow the join: a leave of one of
	// the targets, and what names one of them after that.
	then []deferred
}

// deferred is a request that waits for a join, parsed so that what it came in
// is not kept.
type deferred struct {
	request command // without its data
	do      func() error
}

// maxWaiting bounds the requests of one connection that wait for interest.
const maxWaiting = 256

// admitWaiting bounds what waits.
func (c *conn) admitWaiting() error {
	waiting := len(c.pending())
	for _, p := range c.pending() {
		waiting += len(p.then)
	}
	if waiting >= maxWaiting {
		return &fault{codeRateLimited, textRateLimited}
	}
	return nil
}

// joinChannelLocked makes c a member of a channel.
func (c *conn) joinChannelLocked(cmd command) error {
	channel, err := cmd.channel()
	if err != nil {
		return err
	}
	target, err := address.ChannelTarget(c.principal.Tenant, channel)
	if err != nil || !c.loop.hub.opts.Policy.MayJoin(c.principal, channel) {
		return &fault{codePermissionDenied, textAccessDenied}
	}
	cmd.about = channel
	p := &pendingJoin{targets: []address.Target{target}, request: cmd.bare()}
	id := p.request.id
	p.answer = func(at *joined) *frame.Frame { return channelJoinedFrame(c, id, channel, at) }
	if err := c.followLater(p, cmd, target); err != nil {
		return err
	}
	return c.joinLocked(p)
}

// subscribeLocked adds notification types and joins their channels.
func (c *conn) subscribeLocked(cmd command) error {
	types, err := cmd.types()
	if err != nil {
		return err
	}
	who := c.principal
	if who.User.IsZero() {
		return &fault{codePermissionDenied, textDenied}
	}
	targets, err := notificationTargets(who, types)
	if err != nil {
		return err
	}
	if err := c.admitTypes(types); err != nil {
		return err
	}
	p := &pendingJoin{targets: targets, types: types, request: cmd.bare()}
	id := p.request.id
	p.answer = func(at *joined) *frame.Frame { return notificationsSubscribedFrame(c, id, types, at) }
	if c.v1() {
		inbox, err := address.UserTarget(who.Tenant, who.User)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		if err := c.followLater(p, cmd, inbox); err != nil {
			return err
		}
	}
	return c.joinLocked(p)
}

// notificationTargets returns the channels that go with notification types.
func notificationTargets(who *auth.Principal, types []string) ([]address.Target, error) {
	var targets []address.Target
	for _, kind := range types {
		// A user id with ':' has no such channels: the types only filter.
		channel, ok := address.NotificationChannel(who.Tenant, who.User, kind)
		if !ok {
			continue
		}
		target, err := address.ChannelTarget(who.Tenant, channel)
		if err != nil {
			return nil, fmt.Errorf("notification channel: %w", err)
		}
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// admitTypes bounds the types of one connection as its channels are bounded.
func (c *conn) admitTypes(types []string) error {
	present, most := c.types(), c.loop.hub.opts.MaxChannelsPerConnection
	if len(present)+len(types) <= most {
		return nil
	}
	added := 0
	for _, kind := range types {
		if _, ok := present[kind]; !ok {
			added++
		}
	}
	if len(present)+added > most {
		return c.limitFault()
	}
	return nil
}

func (c *conn) limitFault() *fault {
	return &fault{codeChannelLimit, fmt.Sprintf("At most %d channels per connection", c.loop.hub.opts.MaxChannelsPerConnection)}
}

// admitTargets bounds the channels of one connection, those of pending joins
// among them.
func (c *conn) admitTargets(targets []address.Target) error {
	l := c.loop
	coming := make(map[address.Target]struct{})
	add := func(targets []address.Target) {
		for _, t := range targets {
			if !l.shard.Has(c.slot, t) {
				coming[t] = struct{}{}
			}
		}
	}
	for _, p := range c.pending() {
		add(p.targets)
	}
	before := len(coming)
	add(targets)
	if len(coming) > before && l.shard.Channels(c.slot)+len(coming) > l.hub.opts.MaxChannelsPerConnection {
		return c.limitFault()
	}
	return nil
}

// joinLocked makes c a member of all targets of p and answers its request, at
// once or when the interest is live. Either all are joined or none.
func (c *conn) joinLocked(p *pendingJoin) error {
	l := c.loop
	if err := c.admitWaiting(); err != nil {
		return err
	}
	for _, earlier := range slices.Backward(c.pending()) {
		follow := !p.follows.IsZero() && p.follows == earlier.follows
		if follow || len(earlier.then) > 0 && slices.ContainsFunc(p.targets, earlier.joins) {
			earlier.then = append(earlier.then, deferred{p.request, func() error { return c.joinLocked(p) }})
			return nil
		}
	}
	if err := c.admitTargets(p.targets); err != nil {
		return err
	}
	// One more than is asked for, so that nothing finishes before all is asked.
	p.waiting = 1
	ready := func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		p.failed = errors.Join(p.failed, err)
		p.waiting--
		if p.waiting == 0 {
			c.liveLocked(p)
			l.flushLocked()
		}
	}
	for _, t := range p.targets {
		if !l.hub.bus.Acquire(t, ready) {
			p.waiting++
		}
	}
	p.waiting--
	if p.waiting == 0 && p.follows.IsZero() {
		c.finishJoinLocked(p)
		return nil
	}
	rare := c.own()
	rare.pending = append(rare.pending, p)
	if p.waiting == 0 {
		c.liveLocked(p)
	}
	return nil
}

// followLater has p follow target, if that is kept.
func (c *conn) followLater(p *pendingJoin, cmd command, target address.Target) error {
	if c.v1() {
		var err error
		if p.resume, err = cmd.resume(); err != nil {
			return err
		}
	}
	if kept := c.loop.hub.history; kept != nil && kept.Keeps(target) {
		p.follows = target
	} else {
		p.at = notKept(p.resume)
	}
	return nil
}

// liveLocked goes on with a join whose interest is live, or has failed.
func (c *conn) liveLocked(p *pendingJoin) {
	if p.failed != nil || p.follows.IsZero() || c.state != stateOpen {
		c.finishJoinLocked(p)
		return
	}
	c.loop.hub.feeds.follow(p.follows, &joiner{conn: c, pending: p, resume: p.resume})
}

// joins reports whether t is one of the targets.
func (p *pendingJoin) joins(t address.Target) bool { return slices.Contains(p.targets, t) }

// finishJoinLocked ends a pending join, and then does what waited for it.
func (c *conn) finishJoinLocked(p *pendingJoin) {
	l := c.loop
	c.dropPendingLocked(p)
	if c.state != stateOpen || p.failed != nil {
		for _, t := range p.targets {
			l.hub.bus.Release(t)
		}
		if c.state == stateOpen {
			c.refuseLocked(p.request, &fault{codeUnavailable, textUnavailable})
		}
	} else {
		for _, t := range p.targets {
			l.joinLocked(c, t)
		}
		c.addTypes(p.types)
		c.sendLocked(p.answer(p.at))
		c.replayLocked(p.replay)
	}
	for _, next := range p.then {
		if c.state != stateOpen {
			return
		}
		if err := c.answerLocked(next.request, next.do()); err != nil {
			c.failLocked(err)
		}
	}
}

// addTypes subscribes c to notification types; nil is no subscription, but an
// empty list is one.
func (c *conn) addTypes(types []string) {
	if types == nil {
		return
	}
	rare := c.own()
	if rare.notifications == nil {
		rare.notifications = make(map[string]struct{}, len(types))
	}
	for _, kind := range types {
		rare.notifications[kind] = struct{}{}
	}
}

// dropPendingLocked takes p off the pending joins, if it is there.
func (c *conn) dropPendingLocked(p *pendingJoin) {
	rare := c.seldom
	if rare == nil {
		return
	}
	rare.pending = slices.DeleteFunc(rare.pending, func(o *pendingJoin) bool { return o == p })
	if len(rare.pending) == 0 {
		rare.pending = nil
		c.tidyLocked()
	}
	c.tidyLocked()
}

// leaveChannelLocked ends a membership. Leaving a channel that c is not in is
// answered all the same.
func (c *conn) leaveChannelLocked(cmd command) error {
	channel, err := cmd.channel()
	if err != nil {
		return err
	}
	cmd.about = channel
	return c.leaveLocked(cmd.bare(), channel)
}

func (c *conn) leaveLocked(request command, channel address.Channel) error {
	target, err := address.ChannelTarget(c.principal.Tenant, channel)
	if err == nil {
		for _, p := range slices.Backward(c.pending()) {
			if p.joins(target) {
				if err := c.admitWaiting(); err != nil {
					return err
				}
				p.then = append(p.then, deferred{request, func() error { return c.leaveLocked(request, channel) }})
				return nil
			}
		}
		if left, last := c.loop.shard.Leave(c.slot, target); left {
			c.loop.releaseLocked(target, last)
			c.unfollowLocked(target)
		}
	}
	c.sendLocked(channelLeftFrame(c, request.id, channel))
	return nil
}
