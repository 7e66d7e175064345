package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/aegisx/pushd/internal/address"
)

// Bounds of a Limit.
const (
	// MaxMessages bounds what is kept of one target.
	MaxMessages = 10_000
	// MinAge and MaxAge bound how long it is kept.
	MinAge = time.Second
	MaxAge = 30 * 24 * time.Hour
)

// Limit says how much of one target is kept. The zero Limit keeps nothing.
type Limit struct {
	// Messages is how many, the newest ones.
	Messages int
	// Age is for how long.
	Age time.Duration
}

// DefaultLimit is what a user's inbox and notification channels keep.
func DefaultLimit() Limit { return Limit{Messages: 100, Age: 24 * time.Hour} }

// IsZero reports whether nothing is kept.
func (l Limit) IsZero() bool { return l == Limit{} }

// String returns MESSAGES/AGE, what ParseLimit reads.
func (l Limit) String() string {
	if l.IsZero() {
		return off
	}
	return fmt.Sprintf("%d/%s", l.Messages, l.Age)
}

// off is the Limit that keeps nothing, in words.
const off = "off"

// ParseLimit reads MESSAGES/AGE, as 100/24h, or off.
func ParseLimit(s string) (Limit, error) {
	if s == off {
		return Limit{}, nil
	}
	count, age, ok := strings.Cut(s, "/")
	if !ok {
		return Limit{}, fmt.Errorf("%q must be MESSAGES/AGE, as 100/24h, or off", s)
	}
	var l Limit
	var err error
	if l.Messages, err = strconv.Atoi(count); err != nil || strconv.Itoa(l.Messages) != count {
		return Limit{}, fmt.Errorf("%q must begin with a number of messages", s)
	}
	if l.Age, err = time.ParseDuration(age); err != nil {
		return Limit{}, fmt.Errorf("%q must end with a time, as 24h", s)
	}
	if l.Messages < 1 || l.Messages > MaxMessages {
		return Limit{}, fmt.Errorf("%q: messages must be 1 to %d", s, MaxMessages)
	}
	if l.Age < MinAge || l.Age > MaxAge {
		return Limit{}, fmt.Errorf("%q: the time must be %s to %s", s, MinAge, MaxAge)
	}
	return l, nil
}

// Rule gives the channels that match a Limit.
type Rule struct {
	Channels address.Pattern
	Limit    Limit
}

// Rules say what is kept. They are not changed once they are in use.
type Rules struct {
	// Channels are asked in their order; the first that matches decides. What
	// none matches is not kept.
	Channels []Rule
	// Inbox is for users, TenantInbox for the users of some tenants.
	Inbox       Limit
	TenantInbox map[address.TenantID]Limit
}

// For returns the Limit of t. Tenants as such and everybody have none.
func (r *Rules) For(t address.Target) Limit {
	switch t.Kind() {
	case address.KindUser:
		if l, ok := r.TenantInbox[t.Tenant()]; ok {
			return l
		}
		return r.Inbox
	case address.KindChannel:
		for _, rule := range r.Channels {
			if rule.Channels.Match(t.Channel()) {
				return rule.Limit
			}
		}
	}
	return Limit{}
}

// Largest returns the most that any rule keeps, in messages and in time.
func (r *Rules) Largest() Limit {
	largest := r.Inbox
	add := func(l Limit) {
		largest.Messages = max(largest.Messages, l.Messages)
		largest.Age = max(largest.Age, l.Age)
	}
	for _, l := range r.TenantInbox {
		add(l)
	}
	for _, rule := range r.Channels {
		add(rule.Limit)
	}
	return largest
}

// Hash tells different rules apart. Nodes show it to each other.
func (r *Rules) Hash() uint64 {
	var b strings.Builder
	fmt.Fprintf(&b, "inbox %s\n", r.Inbox)
	var tenants []string
	for id, l := range r.TenantInbox {
		tenants = append(tenants, fmt.Sprintf("inbox of %s %s\n", address.EncodeToken(id.String()), l))
	}
	slices.Sort(tenants)
	b.WriteString(strings.Join(tenants, ""))
	for _, rule := range r.Channels {
		fmt.Fprintf(&b, "channels %s %s\n", rule.Channels, rule.Limit)
	}
	return xxhash.Sum64String(b.String())
}
