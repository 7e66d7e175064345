package address

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of the names, in bytes.
const (
	MaxTenant  = 128
	MaxUser    = 128
	MaxChannel = 200
	// MaxType bounds notification types and event types.
	MaxType = 64
)

// TenantID names a tenant: 1 to MaxTenant bytes, one channel segment. The zero
// value names none.
type TenantID struct{ name string }

// ParseTenantID validates s. The error is an *Error.
func ParseTenantID(s string) (TenantID, error) {
	if err := checkSegment("tenant", s, MaxTenant); err != nil {
		return TenantID{}, err
	}
	return TenantID{s}, nil
}

// String returns the name as it was given.
func (t TenantID) String() string { return t.name }

// IsZero reports whether t names no tenant.
func (t TenantID) IsZero() bool { return t.name == "" }

// UserID names a user within a tenant: 1 to MaxUser bytes; ':' is allowed. The
// zero value names none.
type UserID struct{ name string }

// ParseUserID validates s. The error is an *Error.
func ParseUserID(s string) (UserID, error) {
	if err := checkText("user", s, MaxUser); err != nil {
		return UserID{}, err
	}
	if s == "*" || s == "**" {
		return UserID{}, &Error{"user", "must not be a wildcard"}
	}
	return UserID{s}, nil
}

// String returns the name as it was given.
func (u UserID) String() string { return u.name }

// IsZero reports whether u names no user.
func (u UserID) IsZero() bool { return u.name == "" }

// ParseNotificationType validates the type of a notification: one channel
// segment of at most MaxType bytes. The error is an *Error.
func ParseNotificationType(s string) (string, error) {
	if err := checkSegment("notification type", s, MaxType); err != nil {
		return "", err
	}
	return s, nil
}

// checkText applies the rules that all names share.
func checkText(what, s string, limit int) error {
	if s == "" {
		return &Error{what, "must not be empty"}
	}
	if len(s) > limit {
		return &Error{what, fmt.Sprintf("must not be longer than %d bytes", limit)}
	}
	if !utf8.ValidString(s) {
		return &Error{what, "must be valid UTF-8"}
	}
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return &Error{what, "must not contain white space or control characters"}
		}
	}
	return nil
}

// checkSegment applies the rules for one segment of a channel name.
func checkSegment(what, s string, limit int) error {
	if err := checkText(what, s, limit); err != nil {
		return err
	}
	if strings.Contains(s, ":") {
		return &Error{what, "must not contain ':'"}
	}
	if s == "*" || s == "**" {
		return &Error{what, "must not be a wildcard"}
	}
	return nil
}
