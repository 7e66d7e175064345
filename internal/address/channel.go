package address

import "strings"

// First segments with a meaning of their own.
const (
	tenantSpace        = "tenant"
	notificationsSpace = "notifications"
	publicSpace        = "public"
)

// Channel names a channel: 1 to MaxChannel bytes, non-empty segments split by
// ':'. The zero value names none.
type Channel struct{ name string }

// ParseChannel validates s. The error is an *Error.
func ParseChannel(s string) (Channel, error) {
	if err := checkText("channel", s, MaxChannel); err != nil {
		return Channel{}, err
	}
	for seg := range strings.SplitSeq(s, ":") {
		switch seg {
		case "":
			return Channel{}, &Error{"channel", "must not have an empty segment"}
		case "*", "**":
			return Channel{}, &Error{"channel", "must not have a wildcard segment"}
		}
	}
	return Channel{s}, nil
}

// NotificationChannel returns notifications:<t>:<u>:<kind>. ok is false when
// that name can't exist: the user id holds ':', kind is no notification type,
// or the name gets too long.
func NotificationChannel(t TenantID, u UserID, kind string) (c Channel, ok bool) {
	if t.IsZero() || u.IsZero() || strings.Contains(u.name, ":") {
		return Channel{}, false
	}
	if _, err := ParseNotificationType(kind); err != nil {
		return Channel{}, false
	}
	c, err := ParseChannel(notificationsSpace + ":" + t.name + ":" + u.name + ":" + kind)
	return c, err == nil
}

// String returns the name as it was given.
func (c Channel) String() string { return c.name }

// IsZero reports whether c names no channel.
func (c Channel) IsZero() bool { return c.name == "" }

// IsPublic reports whether c is in the one space that all tenants share:
// public:**.
func (c Channel) IsPublic() bool { return strings.HasPrefix(c.name, publicSpace+":") }

// IsTenant reports whether c is tenant:<x> or tenant:<x>:**.
func (c Channel) IsTenant() bool { return c.space() == tenantSpace && c.name != tenantSpace }

// IsNotifications reports whether the first segment of c is "notifications"
// and others follow.
func (c Channel) IsNotifications() bool {
	return c.space() == notificationsSpace && c.name != notificationsSpace
}

// Owner returns the tenant that the name itself says: the second segment of
// tenant:… and notifications:… . ok is false for every other name and for a
// segment that can't be a tenant id.
func (c Channel) Owner() (t TenantID, ok bool) {
	if !c.IsTenant() && !c.IsNotifications() {
		return TenantID{}, false
	}
	t, err := ParseTenantID(c.Segment(1))
	return t, err == nil
}

// Segment returns segment i counted from 0, or "" when there is none.
func (c Channel) Segment(i int) string {
	rest := c.name
	for ; i > 0; i-- {
		_, after, found := strings.Cut(rest, ":")
		if !found {
			return ""
		}
		rest = after
	}
	seg, _, _ := strings.Cut(rest, ":")
	return seg
}

// Segments returns how many segments c has.
func (c Channel) Segments() int {
	if c.IsZero() {
		return 0
	}
	return strings.Count(c.name, ":") + 1
}

func (c Channel) space() string {
	seg, _, _ := strings.Cut(c.name, ":")
	return seg
}
