package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
)

func userTarget(t testing.TB, tenantName, name string) address.Target {
	t.Helper()
	x, err := address.UserTarget(tenant(t, tenantName), user(t, name))
	if err != nil {
		t.Fatalf("user %q of %q: %v", name, tenantName, err)
	}
	return x
}

func tenantTarget(t testing.TB, name string) address.Target {
	t.Helper()
	x, err := address.TenantTarget(tenant(t, name))
	if err != nil {
		t.Fatalf("tenant %q: %v", name, err)
	}
	return x
}

func channelTarget(t testing.TB, tenantName, name string) address.Target {
	t.Helper()
	x, err := address.ChannelTarget(tenant(t, tenantName), channel(t, name))
	if err != nil {
		t.Fatalf("channel %q of %q: %v", name, tenantName, err)
	}
	return x
}

func TestTargetParts(t *testing.T) {
	for _, c := range []struct {
		name                  string
		target                address.Target
		kind                  address.Kind
		label                 string
		tenant, user, channel string
		tenantToken, idToken  string
	}{
		{name: "zero", label: "none"},
		{name: "all", target: address.AllTarget(), kind: address.KindAll, label: "all"},
		{name: "tenant", target: tenantTarget(t, "a.b"), kind: address.KindTenant, label: "tenant",
			tenant: "a.b", tenantToken: "a=2Eb"},
		{name: "user", target: userTarget(t, "1", "a:b"), kind: address.KindUser, label: "user",
			tenant: "1", user: "a:b", tenantToken: "1", idToken: "+u.a=3Ab"},
		{name: "channel", target: channelTarget(t, "1", "room:1"), kind: address.KindChannel, label: "channel",
			tenant: "1", channel: "room:1", tenantToken: "1", idToken: "room=3A1"},
		{name: "public", target: channelTarget(t, "1", "public:x"), kind: address.KindChannel, label: "channel",
			channel: "public:x", tenantToken: "+public", idToken: "public=3Ax"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := c.target
			if x.Kind() != c.kind || x.Kind().String() != c.label || x.IsZero() != (c.kind == 0) {
				t.Errorf("kind %d %q, zero %v", x.Kind(), x.Kind(), x.IsZero())
			}
			if x.Tenant().String() != c.tenant || x.User().String() != c.user || x.Channel().String() != c.channel {
				t.Errorf("tenant %q, user %q, channel %q", x.Tenant(), x.User(), x.Channel())
			}
			if x.TenantToken() != c.tenantToken || x.IDToken() != c.idToken {
				t.Errorf("tokens %q and %q", x.TenantToken(), x.IDToken())
			}
		})
	}
	if got := address.Kind(99).String(); got != "none" {
		t.Errorf("unknown kind %q", got)
	}
}

func TestTargetsNeedNames(t *testing.T) {
	var (
		noTenant  address.TenantID
		noUser    address.UserID
		noChannel address.Channel
	)
	for name, build := range map[string]func() (address.Target, error){
		"user without tenant":    func() (address.Target, error) { return address.UserTarget(noTenant, user(t, "u")) },
		"user without name":      func() (address.Target, error) { return address.UserTarget(tenant(t, "1"), noUser) },
		"tenant without name":    func() (address.Target, error) { return address.TenantTarget(noTenant) },
		"channel without name":   func() (address.Target, error) { return address.ChannelTarget(tenant(t, "1"), noChannel) },
		"channel without tenant": func() (address.Target, error) { return address.ChannelTarget(noTenant, channel(t, "c")) },
		"tenant's channel without tenant": func() (address.Target, error) {
			return address.ChannelTarget(noTenant, channel(t, "tenant:1"))
		},
		"just public": func() (address.Target, error) { return address.ChannelTarget(noTenant, channel(t, "public")) },
		"nothing":     func() (address.Target, error) { return address.ChannelTarget(noTenant, noChannel) },
	} {
		t.Run(name, func(t *testing.T) {
			x, err := build()
			if err == nil || !x.IsZero() {
				t.Errorf("got %v, %v", x, err)
			}
			if errors.Is(err, address.ErrForeignTenant) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestChannelTargetOwnership(t *testing.T) {
	long := strings.Repeat("a", 129)
	for _, c := range []struct {
		name, tenant, channel string
		foreign               bool
	}{
		{"own", "1", "tenant:1", false},
		{"own, deeper", "1", "tenant:1:admin:x", false},
		{"own notifications", "1", "notifications:1:ann:order", false},
		{"other", "1", "tenant:2", true},
		{"other that begins alike", "1", "tenant:10", true},
		{"other that ends alike", "10", "tenant:1", true},
		{"other notifications", "1", "notifications:2:ann:order", true},
		{"other notifications that begin alike", "1", "notifications:10:1:x", true},
		{"own name at another place", "1", "tenant:2:1", true},
		{"other case", "a", "tenant:A", true},
		{"other normalisation", "é", "tenant:e\u0301", true},
		{"encoded name", "a.b", "tenant:a=2Eb", true},
		{"segment that can't be a tenant", "1", "tenant:" + long, true},
		{"no tenant in it", "1", "tenant", false},
		{"no tenant in it either", "1", "notifications", false},
		{"looks like it", "1", "tenants:2", false},
		{"further back", "1", "a:tenant:2", false},
		{"free", "1", "room:2", false},
		{"public", "1", "public:tenant:2", false},
		{"just public", "1", "public", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := address.ChannelTarget(tenant(t, c.tenant), channel(t, c.channel))
			if errors.Is(err, address.ErrForeignTenant) != c.foreign || x.IsZero() != c.foreign {
				t.Fatalf("got %v, %v", x, err)
			}
			if err != nil && (strings.Contains(err.Error(), c.channel) || !c.foreign) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPublicChannelsAreShared(t *testing.T) {
	x := channelTarget(t, "1", "public:x")
	if x != channelTarget(t, "2", "public:x") {
		t.Error("a public channel depends on the tenant")
	}
	if y, err := address.ChannelTarget(address.TenantID{}, channel(t, "public:x")); err != nil || y != x {
		t.Errorf("without a tenant: %v, %v", y, err)
	}
	if channelTarget(t, "1", "public") == channelTarget(t, "2", "public") {
		t.Error("the channel called public is shared")
	}
}

// route is all that the cluster makes a subject of.
type route struct {
	kind          address.Kind
	tenant, inner string
}

func routeOf(x address.Target) route { return route{x.Kind(), x.TenantToken(), x.IDToken()} }

// TestTargetsAreIsolated compares each target with each other one: none may be
// equal to another or share its route. Each is built twice to see that the
// same names give the same target.
func TestTargetsAreIsolated(t *testing.T) {
	names := []string{
		"1", "10", "01", "0", "a", "A", "a.b", "a=2Eb", "a=2eb", "a_b", "a-b", "*a", ">", ".", "..", "=", "==", "=3D",
		"+public", "+u", "+u.", "+u.ann", "ann", "public", "$SYS", "$JS", "é", "e\u0301", "tenant", "notifications", "all", "%2E", "\u200b", "\u202e",
	}
	build := func() []address.Target {
		all := []address.Target{{}, address.AllTarget(), channelTarget(t, "1", "public:x"), channelTarget(t, "1", "public:y")}
		for _, tenantName := range names {
			all = append(all, tenantTarget(t, tenantName), channelTarget(t, tenantName, "tenant:"+tenantName))
			for _, name := range names {
				all = append(all, userTarget(t, tenantName, name), userTarget(t, tenantName, name+":x"),
					channelTarget(t, tenantName, name+"x"), channelTarget(t, tenantName, "x:"+name))
			}
		}
		return all
	}
	seen := make(map[address.Target]int)
	routes := make(map[route]int)
	again := build()
	for i, x := range build() {
		if x != again[i] {
			t.Errorf("%v is not equal to itself", x)
		}
		if j, dup := seen[x]; dup {
			t.Errorf("targets %d and %d are equal: %v", i, j, x)
		}
		if j, dup := routes[routeOf(x)]; dup {
			t.Errorf("%v and %v share the route %v", x, again[j], routeOf(x))
		}
		seen[x], routes[routeOf(x)] = i, i
	}
}

// TestReservedTokensAreUnreachable: no name takes the place of the public
// space or of a user.
func TestReservedTokensAreUnreachable(t *testing.T) {
	for _, name := range []string{"+public", "+public.x", "+u.", "+u.ann", "+", "=2Bpublic"} {
		if got := tenantTarget(t, name).TenantToken(); strings.ContainsAny(got, "+.") {
			t.Errorf("tenant %q: %q", name, got)
		}
		if got := channelTarget(t, "1", name).IDToken(); strings.ContainsAny(got, "+.") {
			t.Errorf("channel %q: %q", name, got)
		}
		if got := userTarget(t, "1", name).IDToken(); strings.Count(got, "+") != 1 || strings.Count(got, ".") != 1 {
			t.Errorf("user %q: %q", name, got)
		}
	}
}

// FuzzTargets: two users or channels share a target or a route only if they
// share both names.
func FuzzTargets(f *testing.F) {
	f.Add("1", "ann", "10", "ann")
	f.Add("a.b", "x", "a=2Eb", "x")
	f.Add("+public", "public:x", "1", "public:x")
	f.Add("1", "+u.a", "1", "a")
	f.Fuzz(func(t *testing.T, tenant1, name1, tenant2, name2 string) {
		t1, err1 := address.ParseTenantID(tenant1)
		t2, err2 := address.ParseTenantID(tenant2)
		if err1 != nil || err2 != nil {
			return
		}
		same := tenant1 == tenant2 && name1 == name2
		users := targets(name1, name2, func(name string, first bool) (address.Target, bool) {
			u, err := address.ParseUserID(name)
			x, err2 := address.UserTarget(pick(first, t1, t2), u)
			return x, err == nil && err2 == nil
		})
		channels := targets(name1, name2, func(name string, first bool) (address.Target, bool) {
			c, err := address.ParseChannel(name)
			x, err2 := address.ChannelTarget(pick(first, t1, t2), c)
			return x, err == nil && err2 == nil
		})
		if len(users) == 2 && ((users[0] == users[1]) != same || (routeOf(users[0]) == routeOf(users[1])) != same) {
			t.Fatalf("users %v", users)
		}
		if len(channels) == 2 {
			same := same || channels[0].Tenant().IsZero() && name1 == name2
			if (channels[0] == channels[1]) != same || (routeOf(channels[0]) == routeOf(channels[1])) != same {
				t.Fatalf("channels %v", channels)
			}
		}
		for _, u := range users {
			for _, c := range channels {
				if u == c || u.TenantToken() == c.TenantToken() && u.IDToken() == c.IDToken() {
					t.Fatalf("user %v and channel %v share a subject", u, c)
				}
			}
		}
	})
}

// targets builds those of the two that exist.
func targets(name1, name2 string, build func(name string, first bool) (address.Target, bool)) []address.Target {
	var all []address.Target
	if x, ok := build(name1, true); ok {
		all = append(all, x)
	}
	if x, ok := build(name2, false); ok {
		all = append(all, x)
	}
	return all
}

func pick(first bool, a, b address.TenantID) address.TenantID {
	if first {
		return a
	}
	return b
}
