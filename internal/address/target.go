package address

import (
	"fmt"
	"strings"
)

// Kind tells what a Target is.
type Kind uint8

// The kinds of targets. The zero Kind is no target.
const (
	KindUser Kind = iota + 1
	KindTenant
	KindChannel
	KindAll
)

// String returns the lower-case name of the kind; it serves as a metric label.
func (k Kind) String() string {
	switch k {
	case KindUser:
		return "user"
	case KindTenant:
		return "tenant"
	case KindChannel:
		return "channel"
	case KindAll:
		return "all"
	default:
		return "none"
	}
}

// Target is where a message goes: one user, one tenant, one channel of one
// tenant (or of the public space), or everybody. It is comparable and serves
// as a map key: two targets are equal exactly when they name the same
// receivers. The zero Target names nobody.
type Target struct {
	kind Kind
	// tenant is empty for public channels and for KindAll.
	tenant string
	// id is the user or the channel.
	id string
}

// UserTarget names every connection of user u of tenant t.
func UserTarget(t TenantID, u UserID) (Target, error) {
	if t.IsZero() || u.IsZero() {
		return Target{}, fmt.Errorf("user target: %w", errUnnamed)
	}
	return Target{KindUser, t.name, u.name}, nil
}

// TenantTarget names every connection of tenant t.
func TenantTarget(t TenantID) (Target, error) {
	if t.IsZero() {
		return Target{}, fmt.Errorf("tenant target: %w", errUnnamed)
	}
	return Target{KindTenant, t.name, ""}, nil
}

// ChannelTarget names every member of channel c of tenant t. For a public
// channel t is ignored and may be zero. A channel that says its tenant itself
// and says another one is refused with ErrForeignTenant.
func ChannelTarget(t TenantID, c Channel) (Target, error) {
	if c.IsZero() {
		return Target{}, fmt.Errorf("channel target: %w", errUnnamed)
	}
	if c.IsPublic() {
		return Target{KindChannel, "", c.name}, nil
	}
	if t.IsZero() {
		return Target{}, fmt.Errorf("channel target: %w", errUnnamed)
	}
	if c.IsTenant() || c.IsNotifications() {
		if owner, ok := c.Owner(); !ok || owner != t {
			return Target{}, ErrForeignTenant
		}
	}
	return Target{KindChannel, t.name, c.name}, nil
}

// AllTarget names every connection of every tenant.
func AllTarget() Target { return Target{kind: KindAll} }

// Kind returns what x is; 0 for the zero Target.
func (x Target) Kind() Kind { return x.kind }

// IsZero reports whether x names nobody.
func (x Target) IsZero() bool { return x.kind == 0 }

// Tenant returns the tenant of x; zero for public channels and KindAll.
func (x Target) Tenant() TenantID { return TenantID{x.tenant} }

// User returns the user of a KindUser target, zero otherwise.
func (x Target) User() UserID {
	if x.kind != KindUser {
		return UserID{}
	}
	return UserID{x.id}
}

// Channel returns the channel of a KindChannel target, zero otherwise.
func (x Target) Channel() Channel {
	if x.kind != KindChannel {
		return Channel{}
	}
	return Channel{x.id}
}

// publicToken stands for the tenant of public channels. EncodeToken never
// makes a '+', so no tenant can have it.
const publicToken = "+public"

// userToken marks the id of a user; no channel can encode to it.
const userToken = "+u."

// TenantToken returns the NATS token of the target's tenant: the encoded
// tenant, or the reserved token of the public space. Empty for KindAll and the
// zero Target.
func (x Target) TenantToken() string {
	switch {
	case x.tenant != "":
		return EncodeToken(x.tenant)
	case x.kind == KindChannel:
		return publicToken
	default:
		return ""
	}
}

// IDToken returns the last part of the target's NATS subject: the encoded
// channel, or "+u." and the encoded user. Empty for the other kinds.
func (x Target) IDToken() string {
	switch x.kind {
	case KindChannel:
		return EncodeToken(x.id)
	case KindUser:
		return userToken + EncodeToken(x.id)
	default:
		return ""
	}
}

const hexDigits = "0123456789ABCDEF"

// EncodeToken writes s as one NATS subject token: bytes of [A-Za-z0-9_-] stay,
// every other byte becomes '=' and two upper-case hex digits. It is injective:
// no two names share a token, and no name can make a separator or a wildcard.
func EncodeToken(s string) string {
	escapes := 0
	for i := range len(s) {
		if !plain(s[i]) {
			escapes++
		}
	}
	if escapes == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*escapes)
	for i := range len(s) {
		c := s[i]
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('=')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// DecodeToken reverses EncodeToken. ok is false for any text that EncodeToken
// can't have made.
func DecodeToken(token string) (s string, ok bool) {
	var b strings.Builder
	b.Grow(len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		if c != '=' || i+2 >= len(token) {
			return "", false
		}
		hi := strings.IndexByte(hexDigits, token[i+1])
		lo := strings.IndexByte(hexDigits, token[i+2])
		if hi < 0 || lo < 0 || plain(byte(hi<<4|lo)) { //nolint:gosec // Two digits make a byte.
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo)) //nolint:gosec // As above.
		i += 2
	}
	return b.String(), true
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
