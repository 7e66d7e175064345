package edge

import (
	"slices"

	"github.com/aegisx/pushd/internal/address"
)

// unsubscribeLocked takes notification types away and leaves their channels,
// however they were joined. What c is not subscribed to is answered all the same.
func (c *conn) unsubscribeLocked(cmd command) error {
	types, err := cmd.types()
	if err != nil {
		return err
	}
	if c.principal.User.IsZero() {
		return &fault{codePermissionDenied, textDenied}
	}
	targets, err := notificationTargets(c.principal, types)
	if err != nil {
		return err
	}
	return c.removeTypesLocked(cmd.bare(), types, targets)
}

func (c *conn) removeTypesLocked(request command, types []string, targets []address.Target) error {
	for _, p := range slices.Backward(c.pending()) {
		if p.types != nil || slices.ContainsFunc(targets, p.joins) {
			if err := c.admitWaiting(); err != nil {
				return err
			}
			p.then = append(p.then, deferred{request, func() error { return c.removeTypesLocked(request, types, targets) }})
			return nil
		}
	}
	for _, kind := range types {
		// The set stays when it is empty: who chose no type is not who never chose.
		delete(c.types(), kind)
	}
	for _, t := range targets {
		if left, last := c.loop.shard.Leave(c.slot, t); left {
			c.loop.releaseLocked(t, last)
			c.unfollowLocked(t)
		}
	}
	c.sendLocked(notificationsUnsubscribedFrame(c, request.id, types))
	return nil
}
