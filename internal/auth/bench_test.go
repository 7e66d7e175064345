package auth_test

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/auth"
)

func BenchmarkVerify(b *testing.B) {
	v := fullVerifier(b)
	rs, ed := jwt.SigningMethodRS256, jwt.SigningMethodEdDSA
	for name, token := range map[string]string{
		"HS256": goodToken(),
		"RS256": sign(rs, signers()["rsa"].private, headerOf(rs), claimsWith()),
		"EdDSA": sign(ed, signers()["ed25519"].private, headerOf(ed), claimsWith()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMayJoin(b *testing.B) {
	p := &auth.Principal{
		Tenant:  must(address.ParseTenantID("acme")),
		User:    must(address.ParseUserID("ann")),
		Details: &auth.Details{Join: patterns("orders:*", "jobs:**")},
	}
	for _, name := range []string{"tenant:acme:orders", "notifications:acme:ann:mail", "public:news", "jobs:a:b"} {
		c := must(address.ParseChannel(name))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !(auth.Policy{}).MayJoin(p, c) {
					b.Fatal("refused")
				}
			}
		})
	}
}
