package control

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/aegisx/pushd/internal/address"
)

// violation is one fault of a request. The text is for the caller and never
// quotes the field.
type violation struct{ field, reason, text string }

// fields collects what is wrong with one request. Its methods return zero
// values for what is refused; err says whether anything was.
type fields struct{ violations []violation }

func (f *fields) refuse(field, reason, text string) {
	f.violations = append(f.violations, violation{field, reason, text})
}

// err returns nil or one refusal for all violations. Its reason is theirs if
// they agree on one.
func (f *fields) err() error {
	if len(f.violations) == 0 {
		return nil
	}
	r := &refusal{code: codes.InvalidArgument, reason: f.violations[0].reason, violations: f.violations}
	var names []string
	for _, v := range f.violations {
		if v.reason != r.reason {
			r.reason = reasonBadRequest
		}
		if !slices.Contains(names, v.field) {
			names = append(names, v.field)
		}
	}
	r.text = "invalid " + strings.Join(names, ", ")
	return r
}

func (f *fields) tenant(id string) address.TenantID {
	t, err := address.ParseTenantID(id)
	f.name("tenant_id", reasonBadRequest, err)
	return t
}

func (f *fields) user(id string) address.UserID {
	u, err := address.ParseUserID(id)
	f.name("user_id", reasonBadRequest, err)
	return u
}

// notificationType is optional.
func (f *fields) notificationType(name string) string {
	if name == "" {
		return ""
	}
	name, err := address.ParseNotificationType(name)
	f.name("notification_type", reasonBadRequest, err)
	return name
}

// channel reads a channel and the tenant that it belongs to: the one that its
// name says, none for a public channel, else the one that is given. A given
// tenant that does not agree is refused.
func (f *fields) channel(tenantID, name string) (address.TenantID, address.Channel) {
	var given address.TenantID
	if tenantID != "" {
		given = f.tenant(tenantID)
	}
	c, err := address.ParseChannel(name)
	if err != nil {
		f.name("channel", reasonInvalidChannel, err)
		return given, c
	}
	owner, named := c.Owner()
	switch {
	case c.IsPublic():
		if tenantID != "" {
			f.refuse("tenant_id", reasonBadRequest, "must be empty for a public channel, which belongs to no tenant")
		}
		return address.TenantID{}, c
	case named:
		if !given.IsZero() && given != owner {
			f.refuse("tenant_id", reasonBadRequest, "must agree with the channel, which names its tenant")
		}
		return owner, c
	case c.IsTenant() || c.IsNotifications():
		f.refuse("channel", reasonInvalidChannel, "must name a tenant in its second segment")
	case tenantID == "":
		f.refuse("tenant_id", reasonBadRequest, "is required for this channel, which does not name its tenant")
	}
	return given, c
}

// name notes the error of a name, if there is one.
func (f *fields) name(field, reason string, err error) {
	if err == nil {
		return
	}
	text := "must be a valid name"
	var bad *address.Error
	if errors.As(err, &bad) {
		text = bad.Reason
	}
	f.refuse(field, reason, text)
}
