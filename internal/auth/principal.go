package auth

import (
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// Principal is who a token speaks for. It is immutable: it and what its fields
// point to are shared by goroutines, and nobody writes to them.
type Principal struct {
	Tenant address.TenantID
	// User is zero for an anonymous member of the tenant.
	User address.UserID
	// Details is what else the token says; nil: nothing, as is usual.
	Details *Details
	// expires is when the rights end, in µs since 1970; 0: never.
	expires int64
}

// Details is what few tokens say of their bearer.
type Details struct {
	// Roles are sorted and unique.
	Roles []string
	// Join and Publish are the channels that the token grants. They count only
	// outside the spaces with a fixed meaning; a Policy decides.
	Join, Publish []address.Pattern
	// Info is what others may see of the principal in presence: valid JSON of
	// at most 1 KiB, or nil.
	Info json.RawMessage
	// Meta is for the server alone: valid JSON, or nil.
	Meta json.RawMessage
	// TokenID is "jti", or empty.
	TokenID string
}

// HasRole reports whether the token carries the role.
func (p *Principal) HasRole(role string) bool {
	if p.Details == nil {
		return false
	}
	_, found := slices.BinarySearch(p.Details.Roles, role)
	return found
}

// ExpiresAt returns when the rights end, to the microsecond; zero: never.
func (p *Principal) ExpiresAt() time.Time {
	if p.expires == 0 {
		return time.Time{}
	}
	return time.UnixMicro(p.expires)
}

// setExpiry makes t the end of the rights. The zero time is never, and 1970,
// which would read as never, a moment later.
func (p *Principal) setExpiry(t time.Time) {
	if !t.IsZero() {
		p.expires = max(1, t.UnixMicro())
	}
}

// Expired reports whether the rights have ended at now.
func (p *Principal) Expired(now time.Time) bool {
	return p.expires != 0 && now.UnixMicro() >= p.expires
}

// isEmpty reports whether d says nothing.
func (d *Details) isEmpty() bool {
	return len(d.Roles) == 0 && len(d.Join) == 0 && len(d.Publish) == 0 &&
		len(d.Info) == 0 && len(d.Meta) == 0 && d.TokenID == ""
}

// String returns tenant and user only: Info and Meta are not for logs.
func (p *Principal) String() string {
	switch {
	case p == nil:
		return "nobody"
	case p.User.IsZero():
		return "anonymous of " + p.Tenant.String()
	default:
		return p.User.String() + " of " + p.Tenant.String()
	}
}

// LogValue returns tenant and user only: Info and Meta are not for logs.
func (p *Principal) LogValue() slog.Value {
	if p == nil {
		return slog.StringValue(p.String())
	}
	return slog.GroupValue(
		slog.String("tenant", p.Tenant.String()),
		slog.String("user", p.User.String()),
	)
}
