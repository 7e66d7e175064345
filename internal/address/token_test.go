package address_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
)

// TestTokensAreGolden holds what must never change: subjects of streams are
// made of it.
func TestTokensAreGolden(t *testing.T) {
	for _, c := range []struct{ name, token string }{
		{"", ""},
		{"acme", "acme"},
		{"AZaz09_-", "AZaz09_-"},
		{"a.b", "a=2Eb"},
		{"a=2Eb", "a=3D2Eb"},
		{"=", "=3D"},
		{"*", "=2A"},
		{"**", "=2A=2A"},
		{">", "=3E"},
		{"a:b:c", "a=3Ab=3Ac"},
		{"$SYS.>", "=24SYS=2E=3E"},
		{"+public", "=2Bpublic"},
		{"+u.ann", "=2Bu=2Eann"},
		{"é", "=C3=A9"},
		{"東", "=E6=9D=B1"},
		{"a b\r\n\x00", "a=20b=0D=0A=00"},
		{"\xff", "=FF"},
		{"/@[`{", "=2F=40=5B=60=7B"}, // the neighbours of what stays
		{strings.Repeat("é", 100), strings.Repeat("=C3=A9", 100)},
	} {
		if got := address.EncodeToken(c.name); got != c.token {
			t.Errorf("%q became %q, want %q", c.name, got, c.token)
		}
		if got, ok := address.DecodeToken(c.token); got != c.name || !ok {
			t.Errorf("%q was read as %q, %v", c.token, got, ok)
		}
	}
}

// TestEveryByte: each byte has a token of its own.
func TestEveryByte(t *testing.T) {
	seen := make(map[string]byte)
	for i := range 256 {
		name := string([]byte{byte(i)})
		token := address.EncodeToken(name)
		if other, dup := seen[token]; dup {
			t.Errorf("%q and %q are both %q", name, other, token)
		}
		seen[token] = byte(i)
		if got, ok := address.DecodeToken(token); got != name || !ok {
			t.Errorf("%q came back as %q, %v", name, got, ok)
		}
	}
}

func TestDecodeTokenIsStrict(t *testing.T) {
	for name, token := range map[string]string{
		"separator":            "a.b",
		"wildcard":             "*",
		"tail wildcard":        ">",
		"colon":                "a:b",
		"blank":                "a b",
		"reserved":             "+public",
		"reserved user":        "+u.a",
		"lower-case digits":    "=2e",
		"half lower case":      "=C3=a9",
		"no digits":            "=",
		"one digit":            "a=2",
		"not hex":              "=GG",
		"sign":                 "=+1",
		"escaped plain letter": "=61",
		"escaped plain digit":  "=30",
		"escaped underscore":   "=5F",
		"escaped hyphen":       "=2D",
		"raw UTF-8":            "é",
		"NUL":                  "\x00",
		"cut behind a good":    "=2E=2",
	} {
		if got, ok := address.DecodeToken(token); ok || got != "" {
			t.Errorf("%s: %q was read as %q, %v", name, token, got, ok)
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "acme", "a.b", "a=2Eb", "*", ">", "é", "\x00\xff", "+public"} {
		f.Add(s)
	}
	alphabet := regexp.MustCompile(`^[A-Za-z0-9_=-]*$`)
	f.Fuzz(func(t *testing.T, name string) {
		token := address.EncodeToken(name)
		if !alphabet.MatchString(token) || (token == "") != (name == "") || len(token) > 3*len(name) {
			t.Fatalf("token %q", token)
		}
		if got, ok := address.DecodeToken(token); got != name || !ok {
			t.Fatalf("%q was read as %q, %v", token, got, ok)
		}
	})
}

// FuzzDecodeToken: a name has one token, so what is read is what was written.
func FuzzDecodeToken(f *testing.F) {
	for _, s := range []string{"", "acme", "a=2Eb", "=61", "=2e", "=", "a.b", "+u.a", "=C3=A9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		name, ok := address.DecodeToken(token)
		if !ok {
			if name != "" {
				t.Fatalf("refused, and gave %q", name)
			}
			return
		}
		if got := address.EncodeToken(name); got != token {
			t.Fatalf("%q is the token of %q", got, name)
		}
	})
}

func BenchmarkEncodeToken(b *testing.B) {
	for _, name := range []string{"acme", "tenant:acme:project:42", "東京:渋谷"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if address.EncodeToken(name) == "" {
					b.Fatal("empty")
				}
			}
		})
	}
}
