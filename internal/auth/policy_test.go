package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
)

// expected is the table of the contract, written down a second time: rows in
// order, the first that matches decides. Its patterns are for tenant acme and
// user ann.
func expected(p *auth.Principal, c address.Channel, publicPublish bool) (join, publish bool) {
	named := p.User.String() == "ann"
	admin := strings.Contains(" "+strings.Join(details(p).Roles, " ")+" ", " admin ")
	for _, row := range []struct {
		pattern       string
		join, publish bool
	}{
		{"notifications:acme:ann:*", named, false},
		{"notifications:**", false, false},
		{"tenant:acme:admin", admin, admin},
		{"tenant:acme:admin:**", admin, admin},
		{"tenant:acme", true, true},
		{"tenant:acme:**", true, true},
		{"tenant:**", false, false},
		{"public:**", true, publicPublish},
	} {
		// "a:**" needs a segment after a; "a" alone is no match.
		if must(address.ParsePattern(row.pattern)).Match(c) {
			return row.join, row.publish
		}
	}
	for _, g := range details(p).Join {
		join = join || g.Match(c)
	}
	for _, g := range details(p).Publish {
		publish = publish || g.Match(c)
	}
	return join, publish
}

func patterns(texts ...string) []address.Pattern {
	var all []address.Pattern
	for _, text := range texts {
		all = append(all, must(address.ParsePattern(text)))
	}
	return all
}

func TestPolicyAgainstTheTable(t *testing.T) {
	acme := must(address.ParseTenantID("acme"))
	ann, oidc := must(address.ParseUserID("ann")), must(address.ParseUserID("ann:x"))
	all := patterns("**", "*", "tenant:**", "notifications:**", "public:**", "tenant:acme:admin", "tenant:acme2:**")
	some := patterns("orders:*", "tenant", "*:ann", "x:**:admin")
	principals := map[string]*auth.Principal{
		"member":           {Tenant: acme, User: ann},
		"anonymous":        {Tenant: acme},
		"admin":            {Tenant: acme, User: ann, Details: &auth.Details{Roles: []string{"admin", "staff"}}},
		"almost admin":     {Tenant: acme, User: ann, Details: &auth.Details{Roles: []string{"Admin", "administrator", "tenant:admin"}}},
		"colon":            {Tenant: acme, User: oidc},
		"all granted":      {Tenant: acme, User: ann, Details: &auth.Details{Join: all, Publish: all}},
		"all to anonymous": {Tenant: acme, Details: &auth.Details{Join: all, Publish: all}},
		"join granted":     {Tenant: acme, User: ann, Details: &auth.Details{Join: all}},
		"publish granted":  {Tenant: acme, User: ann, Details: &auth.Details{Publish: all}},
		"some granted":     {Tenant: acme, User: ann, Details: &auth.Details{Join: some, Publish: some[:2]}},
	}
	segments := []string{
		"tenant", "notifications", "public", "acme", "acme2", "acm", "ann", "annx", "admin", "orders", "x",
	}
	channels := 0
	var walk func(prefix string, depth int)
	walk = func(prefix string, depth int) {
		for _, segment := range segments {
			name := prefix + segment
			c := must(address.ParseChannel(name))
			channels++
			for who, p := range principals {
				for _, open := range []bool{false, true} {
					policy := auth.Policy{PublicPublish: open}
					join, publish := expected(p, c, open)
					if got := policy.MayJoin(p, c); got != join {
						t.Errorf("%s joins %s: %v", who, name, got)
					}
					if got := policy.MayPublish(p, c); got != publish {
						t.Errorf("%s publishes to %s (open %v): %v", who, name, open, got)
					}
				}
			}
			if depth > 1 && (prefix != "" || isSpace(segment)) {
				walk(name+":", depth-1)
			}
		}
	}
	walk("", 4)
	walk("notifications:acme:ann:", 2)
	walk("tenant:acme:admin:", 2)
	if channels < 4000 {
		t.Errorf("only %d channels", channels)
	}
}

// isSpace tells where it is worth to look deeper.
func isSpace(segment string) bool {
	return segment == "tenant" || segment == "notifications" || segment == "public" || segment == "x"
}

func TestPolicyRows(t *testing.T) {
	one := must(address.ParseTenantID("1"))
	member := &auth.Principal{Tenant: one, User: must(address.ParseUserID("7"))}
	admin := &auth.Principal{Tenant: one, User: must(address.ParseUserID("7")), Details: &auth.Details{Roles: []string{"admin"}}}
	anonymous := &auth.Principal{Tenant: one}
	all := patterns("**")
	greedy := &auth.Principal{Tenant: one, User: must(address.ParseUserID("7")), Details: &auth.Details{Join: all, Publish: all}}
	for _, c := range []struct {
		who           *auth.Principal
		channel       string
		join, publish bool
	}{
		// 1: others' spaces.
		{greedy, "tenant:2", false, false},
		{greedy, "tenant:10", false, false},
		{greedy, "tenant:10:orders", false, false},
		{admin, "tenant:10:admin", false, false},
		{greedy, "notifications:2:7:a", false, false},
		{greedy, "notifications:10:7:a", false, false},
		{greedy, "notifications:1:8:a", false, false},
		{greedy, "notifications:1:77:a", false, false},
		{admin, "notifications:1:8:a", false, false},
		// 2: own notifications.
		{member, "notifications:1:7:a", true, false},
		{greedy, "notifications:1:7:a", true, false},
		{admin, "notifications:1:7:a", true, false},
		{anonymous, "notifications:1:7:a", false, false},
		{greedy, "notifications:1:7", false, false},
		{greedy, "notifications:1", false, false},
		{greedy, "notifications:1:7:a:b", false, false},
		// 3: admin channels.
		{admin, "tenant:1:admin", true, true},
		{admin, "tenant:1:admin:a:b", true, true},
		{member, "tenant:1:admin", false, false},
		{greedy, "tenant:1:admin", false, false},
		{greedy, "tenant:1:admin:a", false, false},
		{member, "tenant:1:admins", true, true},
		{member, "tenant:1:a:admin", true, true},
		// 5: the tenant's own channels.
		{member, "tenant:1", true, true},
		{anonymous, "tenant:1:a:b", true, true},
		// 6: the public space.
		{anonymous, "public:a", true, false},
		{greedy, "public:a:b", true, false},
		{admin, "public:a", true, false},
		// 7: the rest.
		{greedy, "orders:1", true, true},
		{member, "orders:1", false, false},
		{admin, "orders:1", false, false},
		{member, "tenant", false, false},
		{greedy, "tenant", true, true},
		{greedy, "notifications", true, true},
		{greedy, "public", true, true},
		{member, "public", false, false},
		{member, "publicity:a", false, false},
		{greedy, "tenants:2", true, true},
	} {
		t.Run(fmt.Sprintf("%s %v %s", c.who, details(c.who).Roles, c.channel), func(t *testing.T) {
			channel := must(address.ParseChannel(c.channel))
			if got := (auth.Policy{}).MayJoin(c.who, channel); got != c.join {
				t.Errorf("join: %v", got)
			}
			if got := (auth.Policy{}).MayPublish(c.who, channel); got != c.publish {
				t.Errorf("publish: %v", got)
			}
		})
	}
}

func TestPolicyOfNobody(t *testing.T) {
	all := patterns("**")
	tenant := must(address.ParseTenantID("acme"))
	c := must(address.ParseChannel("public:a"))
	policy := auth.Policy{PublicPublish: true}
	for name, x := range map[string]struct {
		p *auth.Principal
		c address.Channel
	}{
		"no principal": {nil, c},
		"no tenant":    {&auth.Principal{Details: &auth.Details{Join: all, Publish: all}}, c},
		"no channel":   {&auth.Principal{Tenant: tenant, Details: &auth.Details{Join: all, Publish: all}}, address.Channel{}},
	} {
		t.Run(name, func(t *testing.T) {
			if policy.MayJoin(x.p, x.c) || policy.MayPublish(x.p, x.c) {
				t.Error("allowed")
			}
		})
	}
}
