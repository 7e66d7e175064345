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
	// Roles are sorted and unique.
	Roles []string
	// ExpiresAt is when the rights end; zero: never.
	ExpiresAt time.Time
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
	_, found := slices.BinarySearch(p.Roles, role)
	return found
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
