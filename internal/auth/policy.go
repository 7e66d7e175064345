package auth

import (
	"slices"

	"github.com/aegisx/pushd/internal/address"
)

const (
	// adminSpace is the segment after the tenant that closes a tenant's channel
	// to all but roleAdmin.
	adminSpace = "admin"
	roleAdmin  = "admin"
)

// Policy decides who may join and publish to a channel. The zero Policy is
// usable; it is safe for concurrent use.
//
// The first row that names the channel decides, <t> and <u> being the
// principal's tenant and user:
//
//	channel                                | join           | publish
//	tenant:<other>…, notifications:…       | nobody         | nobody
//	  but notifications:<t>:<u>:<type>     | that user      | nobody
//	tenant:<t>:admin, tenant:<t>:admin:**  | role admin     | role admin
//	tenant:<t>, tenant:<t>:**              | members        | members
//	public:**                              | any principal  | PublicPublish
//	any other                              | token's grants | token's grants
//
// A lone segment "tenant", "notifications" or "public" is in the last row.
type Policy struct {
	// PublicPublish lets every principal publish to public:** .
	PublicPublish bool
}

// MayJoin reports whether p may receive what is sent to c.
func (pl Policy) MayJoin(p *Principal, c address.Channel) bool {
	switch {
	case p == nil || p.Tenant.IsZero() || c.IsZero():
		return false
	case c.IsNotifications():
		return ownsNotifications(p, c)
	case c.IsTenant():
		return isMember(p, c)
	case c.IsPublic():
		return true
	default:
		return p.Details != nil && granted(p.Details.Join, c)
	}
}

// MayPublish reports whether p may send to c.
func (pl Policy) MayPublish(p *Principal, c address.Channel) bool {
	switch {
	case p == nil || p.Tenant.IsZero() || c.IsZero():
		return false
	case c.IsNotifications():
		return false
	case c.IsTenant():
		return isMember(p, c)
	case c.IsPublic():
		return pl.PublicPublish
	default:
		return p.Details != nil && granted(p.Details.Publish, c)
	}
}

// ownsNotifications reports whether c is one type of p's own notifications. A
// user id with ':' owns none: its name has more segments.
func ownsNotifications(p *Principal, c address.Channel) bool {
	return !p.User.IsZero() && c.Segments() == 4 &&
		c.Segment(1) == p.Tenant.String() && c.Segment(2) == p.User.String()
}

// isMember reports whether p belongs to the tenant channel c, and is admin
// where that is asked for.
func isMember(p *Principal, c address.Channel) bool {
	if c.Segment(1) != p.Tenant.String() {
		return false
	}
	return c.Segment(2) != adminSpace || p.HasRole(roleAdmin)
}

func granted(patterns []address.Pattern, c address.Channel) bool {
	return slices.ContainsFunc(patterns, func(p address.Pattern) bool { return p.Match(c) })
}
