package address_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
)

func TestChannelSpaces(t *testing.T) {
	for _, c := range []struct {
		name                          string
		public, tenant, notifications bool
		owner                         string // "" if the name says none
	}{
		{name: "room"},
		{name: "room:1"},
		{name: "public:news", public: true},
		{name: "public:tenant:1", public: true},
		{name: "public"},
		{name: "publicity:news"},
		{name: "Public:news"},
		{name: "a:public:news"},
		{name: "tenant:1", tenant: true, owner: "1"},
		{name: "tenant:10", tenant: true, owner: "10"},
		{name: "tenant:1:admin", tenant: true, owner: "1"},
		{name: "tenant:a.b:x:y", tenant: true, owner: "a.b"},
		{name: "tenant:é", tenant: true, owner: "é"},
		{name: "tenant:***", tenant: true, owner: "***"},
		{name: "tenant:" + strings.Repeat("a", 128), tenant: true, owner: strings.Repeat("a", 128)},
		{name: "tenant:" + strings.Repeat("a", 129), tenant: true},
		{name: "tenant"},
		{name: "tenants:1"},
		{name: "TENANT:1"},
		{name: "a:tenant:1"},
		{name: "notifications:1:ann:order", notifications: true, owner: "1"},
		{name: "notifications:1", notifications: true, owner: "1"},
		{name: "notifications:" + strings.Repeat("a", 129) + ":u", notifications: true},
		{name: "notifications"},
		{name: "notification:1:ann:order"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := channel(t, c.name)
			if ch.IsPublic() != c.public || ch.IsTenant() != c.tenant || ch.IsNotifications() != c.notifications {
				t.Errorf("public %v, tenant %v, notifications %v", ch.IsPublic(), ch.IsTenant(), ch.IsNotifications())
			}
			owner, ok := ch.Owner()
			if owner.String() != c.owner || ok != (c.owner != "") {
				t.Errorf("owner %q, %v, want %q", owner, ok, c.owner)
			}
		})
	}
}

func TestChannelSegments(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string
	}{
		{"a", []string{"a"}},
		{"a:b", []string{"a", "b"}},
		{"tenant:1:admin:é", []string{"tenant", "1", "admin", "é"}},
		{"a" + strings.Repeat(":b", 99), append([]string{"a"}, slices.Repeat([]string{"b"}, 99)...)},
	} {
		ch := channel(t, c.name)
		if ch.Segments() != len(c.want) {
			t.Errorf("%q has %d segments", c.name, ch.Segments())
		}
		for i, want := range c.want {
			if got := ch.Segment(i); got != want {
				t.Errorf("segment %d of %q is %q, want %q", i, c.name, got, want)
			}
		}
		for _, i := range []int{len(c.want), len(c.want) + 1, 1000} {
			if got := ch.Segment(i); got != "" {
				t.Errorf("segment %d of %q is %q", i, c.name, got)
			}
		}
	}
}

func TestZeroChannel(t *testing.T) {
	var c address.Channel
	if !c.IsZero() || c.String() != "" || c.Segments() != 0 || c.Segment(0) != "" {
		t.Errorf("zero channel: %q, %d segments", c, c.Segments())
	}
	if c.IsPublic() || c.IsTenant() || c.IsNotifications() {
		t.Error("the zero channel is in a space")
	}
	if owner, ok := c.Owner(); ok || !owner.IsZero() {
		t.Errorf("the zero channel belongs to %q", owner)
	}
	if channel(t, "a").IsZero() {
		t.Error("a parsed channel is zero")
	}
}

func TestNotificationChannel(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		name, tenant, user, kind string
		want                     string // "": there is none
	}{
		{"plain", "1", "ann", "order", "notifications:1:ann:order"},
		{"odd names", "a.b", "ü>", "*x", "notifications:a.b:ü>:*x"},
		{"user with a colon", "1", "a:b", "order", ""},
		{"user that looks like another", "1", "ann:order", "x", ""},
		{"longest", "1", strings.Repeat("u", 119), long, "notifications:1:" + strings.Repeat("u", 119) + ":" + long},
		{"too long", "1", strings.Repeat("u", 120), long, ""},
		{"no kind", "1", "ann", "", ""},
		{"kind with a colon", "1", "ann", "a:b", ""},
		{"kind that is a wildcard", "1", "ann", "**", ""},
		{"kind with a blank", "1", "ann", "a b", ""},
		{"kind too long", "1", "ann", long + "x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := address.NotificationChannel(tenant(t, c.tenant), user(t, c.user), c.kind)
			if got.String() != c.want || ok != (c.want != "") {
				t.Fatalf("got %q, %v, want %q", got, ok, c.want)
			}
			if !ok {
				return
			}
			if owner, _ := got.Owner(); owner != tenant(t, c.tenant) || got.Segment(2) != c.user || got.Segments() != 4 {
				t.Errorf("%q does not say what it was made of", got)
			}
		})
	}
	if _, ok := address.NotificationChannel(address.TenantID{}, user(t, "u"), "x"); ok {
		t.Error("a channel without a tenant")
	}
	if _, ok := address.NotificationChannel(tenant(t, "1"), address.UserID{}, "x"); ok {
		t.Error("a channel without a user")
	}
}

// FuzzParseChannel: an accepted channel is made of segments that add up to it,
// is in one space at most, and is never another tenant's under this one's name.
func FuzzParseChannel(f *testing.F) {
	for _, s := range []string{"a", "tenant:1", "tenant:1:admin", "notifications:1:u:t", "public:x", "a::b", "a:*", "tenant", ":", "é:\u00a0"} {
		f.Add(s)
	}
	one := tenant(f, "1")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := address.ParseChannel(s)
		if err != nil {
			if !c.IsZero() {
				t.Fatalf("refused, and is %q", c)
			}
			return
		}
		segments := make([]string, c.Segments())
		for i := range segments {
			segments[i] = c.Segment(i)
			if seg := segments[i]; seg == "" || seg == "*" || seg == "**" || strings.Contains(seg, ":") {
				t.Fatalf("segment %d is %q", i, seg)
			}
		}
		if strings.Join(segments, ":") != s || c.String() != s {
			t.Fatalf("segments %q", segments)
		}
		spaces := 0
		for _, in := range []bool{c.IsPublic(), c.IsTenant(), c.IsNotifications()} {
			if in {
				spaces++
			}
		}
		if spaces > 1 || spaces == 1 && len(segments) < 2 {
			t.Fatalf("in %d spaces with %d segments", spaces, len(segments))
		}
		owner, owned := c.Owner()
		if owned && (owner.String() != segments[1] || c.IsPublic()) {
			t.Fatalf("owner %q", owner)
		}
		target, err := address.ChannelTarget(one, c)
		foreign := (c.IsTenant() || c.IsNotifications()) && segments[1] != "1"
		if (err != nil) != foreign {
			t.Fatalf("target of tenant 1: %v", err)
		}
		if err == nil && (target.Channel() != c || target.Tenant().IsZero() != c.IsPublic()) {
			t.Fatalf("target %v", target)
		}
	})
}
