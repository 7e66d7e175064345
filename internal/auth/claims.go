package auth

import (
	stdjson "encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
)

// Bounds of what a principal holds for as long as its connection lives.
const (
	maxRoles    = 64
	maxRole     = 64 // bytes
	maxPatterns = 128
	maxInfo     = 1 << 10 // bytes
)

const (
	// leeway is how far the issuer's clock may be ahead. It is not given to
	// exp, which the issuer can set as it likes.
	leeway = 30 * time.Second
	// maxTime is the end of the year 9999, in seconds since 1970: the last that
	// RFC 3339 can write.
	maxTime = 253402300799
)

// claims holds the claims that mean something here, as they stand in the token.
// A claim that is absent is empty.
type claims struct {
	Tenant   jsontext.Value `json:"tenantId"`
	User     jsontext.Value `json:"userId"`
	Subject  jsontext.Value `json:"sub"`
	Roles    jsontext.Value `json:"roles"`
	Role     jsontext.Value `json:"role"`
	Channels jsontext.Value `json:"channels"`
	Info     jsontext.Value `json:"info"`
	Meta     jsontext.Value `json:"meta"`

	Audience  jsontext.Value `json:"aud"`
	Issuer    jsontext.Value `json:"iss"`
	ID        jsontext.Value `json:"jti"`
	Expires   jsontext.Value `json:"exp"`
	NotBefore jsontext.Value `json:"nbf"`
	Issued    jsontext.Value `json:"iat"`
}

// checkAudience checks the type of "aud", and that want is in it unless empty.
func (c *claims) checkAudience(want string) error {
	var all []string
	var err error
	if c.Audience.Kind() == jsontext.KindString {
		var one string
		one, err = readString("aud", c.Audience)
		all = []string{one}
	} else {
		all, err = readStrings("aud", c.Audience)
	}
	if err != nil {
		return err
	}
	if want != "" && !slices.Contains(all, want) {
		return refuse("wrong audience")
	}
	return nil
}

// checkIssuer checks the type of "iss", and that it is want unless that is
// empty.
func (c *claims) checkIssuer(want string) error {
	var issuer string
	if len(c.Issuer) > 0 {
		var err error
		if issuer, err = readString("iss", c.Issuer); err != nil {
			return err
		}
	}
	if want != "" && issuer != want {
		return refuse("wrong issuer")
	}
	return nil
}

// checkStart refuses a token that is not valid yet or comes from the future.
func (c *claims) checkStart(now time.Time) error {
	for _, claim := range []struct {
		name, cause string
		value       jsontext.Value
	}{
		{"nbf", "it is not valid yet", c.NotBefore},
		{"iat", "it was issued in the future", c.Issued},
	} {
		if len(claim.value) == 0 {
			continue
		}
		at, err := readTime(claim.name, claim.value)
		if err != nil {
			return err
		}
		if at.After(now.Add(leeway)) {
			return refuse(claim.cause)
		}
	}
	return nil
}

// expiry returns "exp"; the zero time when it is absent and that is allowed.
func (c *claims) expiry(optional bool) (time.Time, error) {
	if len(c.Expires) > 0 {
		return readTime("exp", c.Expires)
	}
	if !optional {
		return time.Time{}, refuse("exp is missing")
	}
	return time.Time{}, nil
}

// readTime returns the NumericDate that v is; it may have a fraction.
func readTime(name string, v jsontext.Value) (time.Time, error) {
	if v.Kind() != jsontext.KindNumber {
		return time.Time{}, refuse(name + " must be a number")
	}
	seconds, err := strconv.ParseFloat(string(v), 64)
	// JSON has no NaN, and ParseFloat reports what overflows.
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, refuse(name + " is out of range")
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*float64(time.Second))), nil
}

func (c *claims) tenant() (address.TenantID, error) {
	if len(c.Tenant) == 0 {
		return address.TenantID{}, refuse("tenantId is missing")
	}
	name, err := readString("tenantId", c.Tenant)
	if err != nil {
		return address.TenantID{}, err
	}
	id, err := address.ParseTenantID(name)
	if err != nil {
		return address.TenantID{}, refuseName("tenantId", err)
	}
	return id, nil
}

// user returns the user: userId, else sub, else zero. Both are checked if both
// are there: a token that is odd in either is not to be believed.
func (c *claims) user() (address.UserID, error) {
	var user address.UserID
	for _, claim := range []struct {
		name  string
		value jsontext.Value
	}{{"userId", c.User}, {"sub", c.Subject}} {
		if len(claim.value) == 0 {
			continue
		}
		name, err := readString(claim.name, claim.value)
		if err != nil {
			return address.UserID{}, err
		}
		id, err := address.ParseUserID(name)
		if err != nil {
			return address.UserID{}, refuseName(claim.name, err)
		}
		if user.IsZero() {
			user = id
		}
	}
	return user, nil
}

// details returns what the claims say beyond tenant, user and expiry; nil if
// that is nothing.
func (c *claims) details() (*Details, error) {
	d := Details{Meta: stdjson.RawMessage(c.Meta)}
	var err error
	if d.Roles, err = c.roles(); err != nil {
		return nil, err
	}
	if d.Join, d.Publish, err = c.grants(); err != nil {
		return nil, err
	}
	if d.TokenID, err = c.id(); err != nil {
		return nil, err
	}
	if d.Info, err = c.info(); err != nil {
		return nil, err
	}
	if d.isEmpty() {
		return nil, nil //nolint:nilnil // See above.
	}
	return &d, nil
}

// roles returns "roles" and "role" as one set, sorted.
func (c *claims) roles() ([]string, error) {
	roles, err := readStrings("roles", c.Roles)
	if err != nil {
		return nil, err
	}
	if len(c.Role) > 0 {
		role, err := readString("role", c.Role)
		if err != nil {
			return nil, err
		}
		roles = append(roles, role)
	}
	for _, role := range roles {
		if role == "" || len(role) > maxRole {
			return nil, refuse("a role is empty or too long")
		}
	}
	slices.Sort(roles)
	roles = slices.Compact(roles)
	if len(roles) > maxRoles {
		return nil, refuse("too many roles")
	}
	return roles, nil
}

// grants returns the patterns of "channels": an array grants joining and
// publishing alike, an object names them apart.
func (c *claims) grants() (join, publish []address.Pattern, err error) {
	if c.Channels.Kind() != jsontext.KindBeginObject {
		join, err = readPatterns("channels", c.Channels)
		return join, join, err
	}
	var split struct {
		Join    jsontext.Value `json:"join"`
		Publish jsontext.Value `json:"publish"`
	}
	// A misspelled name would be a right that is silently not there.
	if err := decodeObject("channels", c.Channels, &split, json.RejectUnknownMembers(true)); err != nil {
		return nil, nil, err
	}
	if join, err = readPatterns("channels.join", split.Join); err != nil {
		return nil, nil, err
	}
	publish, err = readPatterns("channels.publish", split.Publish)
	return join, publish, err
}

func readPatterns(name string, v jsontext.Value) ([]address.Pattern, error) {
	texts, err := readStrings(name, v)
	if err != nil {
		return nil, err
	}
	if len(texts) > maxPatterns {
		return nil, refuse(name + " has too many patterns")
	}
	patterns := make([]address.Pattern, 0, len(texts))
	for _, text := range texts {
		pattern, err := address.ParsePattern(text)
		if err != nil {
			return nil, refuseName(name, err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// info returns "info" as it stands.
func (c *claims) info() (stdjson.RawMessage, error) {
	if len(c.Info) > maxInfo {
		return nil, refuse("info is too long")
	}
	return stdjson.RawMessage(c.Info), nil
}

func (c *claims) id() (string, error) {
	if len(c.ID) == 0 {
		return "", nil
	}
	return readString("jti", c.ID)
}

// refuseName is refuse for the errors of package address, which never quote
// the name.
func refuseName(claim string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrInvalid, claim, err)
}
