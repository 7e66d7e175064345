package address_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aegisx/pushd/internal/address"
)

// parser is one Parse function, and what its kind of name may hold beyond
// plain text.
type parser struct {
	what  string
	limit int
	parse func(string) (string, error)
	// colon: ':' may stand in it. hollow: with nothing between two of them.
	// wildcard: it may be "*" or "**".
	colon, hollow, wildcard bool
}

func parsers() []parser {
	return []parser{
		{what: "tenant", limit: 128, parse: func(s string) (string, error) {
			v, err := address.ParseTenantID(s)
			return v.String(), err
		}},
		{what: "user", limit: 128, colon: true, hollow: true, parse: func(s string) (string, error) {
			v, err := address.ParseUserID(s)
			return v.String(), err
		}},
		{what: "channel", limit: 200, colon: true, parse: func(s string) (string, error) {
			v, err := address.ParseChannel(s)
			return v.String(), err
		}},
		{what: "pattern", limit: 200, colon: true, wildcard: true, parse: func(s string) (string, error) {
			v, err := address.ParsePattern(s)
			return v.String(), err
		}},
		{what: "notification type", limit: 64, parse: address.ParseNotificationType},
	}
}

// takes fails the test unless s is accepted and comes back unchanged.
func (p parser) takes(t *testing.T, s string) {
	t.Helper()
	got, err := p.parse(s)
	if err != nil || got != s {
		t.Errorf("%s %q: got %q, %v", p.what, s, got, err)
	}
}

// refuses fails the test unless s is refused with an *Error, and nothing of it
// comes back.
func (p parser) refuses(t *testing.T, s string) {
	t.Helper()
	got, err := p.parse(s)
	var e *address.Error
	if !errors.As(err, &e) {
		t.Errorf("%s %q: error %v is no *Error", p.what, s, err)
		return
	}
	if e.What != p.what || got != "" {
		t.Errorf("%s %q: got %q, error of a %q", p.what, s, got, e.What)
	}
}

func (p parser) check(t *testing.T, s string, ok bool) {
	t.Helper()
	if ok {
		p.takes(t, s)
	} else {
		p.refuses(t, s)
	}
}

// TestLimits holds the bounds of docs/protocol.md, which count bytes.
func TestLimits(t *testing.T) {
	if address.MaxTenant != 128 || address.MaxUser != 128 || address.MaxChannel != 200 || address.MaxType != 64 {
		t.Error("the bounds are not those of the contract")
	}
	for _, p := range parsers() {
		t.Run(p.what, func(t *testing.T) {
			p.takes(t, "a")
			p.takes(t, strings.Repeat("a", p.limit-1))
			p.takes(t, strings.Repeat("a", p.limit))
			p.refuses(t, strings.Repeat("a", p.limit+1))
			p.refuses(t, strings.Repeat("a", 1<<20))
			p.refuses(t, "")

			p.takes(t, strings.Repeat("é", p.limit/2))
			p.refuses(t, strings.Repeat("é", p.limit/2)+"a")
			p.takes(t, strings.Repeat("😀", p.limit/4))
			p.refuses(t, strings.Repeat("😀", p.limit/4+1))
		})
	}
}

// forbidden is written out, so that a change of the Unicode tables shows.
func forbidden(r rune) bool {
	switch {
	case r <= 0x20, r >= 0x7f && r <= 0xa0, r >= 0x2000 && r <= 0x200a:
		return true
	default:
		return slices.Contains([]rune{0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000}, r)
	}
}

// TestRunes tries every character up to U+3100, where white space and control
// characters end, and some from further up.
func TestRunes(t *testing.T) {
	runes := []rune{0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xffff, 0x10000, 0x1f600, 0xe0001, utf8.MaxRune}
	for r := range rune(0x3100) {
		runes = append(runes, r)
	}
	for _, p := range parsers() {
		t.Run(p.what, func(t *testing.T) {
			for _, r := range runes {
				bad := forbidden(r) || r == ':' && !p.colon
				p.check(t, "a"+string(r)+"b", !bad)
				if r == ':' || r == '*' {
					continue
				}
				p.check(t, string(r), !bad)
				p.check(t, string(r)+"b", !bad)
				p.check(t, "a"+string(r), !bad)
			}
		})
	}
}

func TestInvalidUTF8(t *testing.T) {
	for _, p := range parsers() {
		for name, bad := range map[string]string{
			"stray byte":       "\xff",
			"continuation":     "a\x80b",
			"cut":              "a\xc3",
			"cut in the midst": "a\xe2\x82b",
			"overlong slash":   "\xc0\xaf",
			"overlong NUL":     "\xc0\x80",
			"surrogate":        "\xed\xa0\x80",
			"beyond Unicode":   "\xf4\x90\x80\x80",
			"latin-1":          "caf\xe9",
		} {
			t.Run(p.what+"/"+name, func(t *testing.T) { p.refuses(t, bad) })
		}
	}
}

// TestText has what is allowed however odd it looks: these bytes reach NATS
// only through EncodeToken.
func TestText(t *testing.T) {
	for _, p := range parsers() {
		for _, odd := range []string{
			"1", "10", "a.b", "a=2Eb", ">", "a>", "a.>", "a*", "*a", "a**b", "***", "$SYS", "$JS.API", "+public", "+u.ann",
			"Ünïcödé", "東京", "ж", "e\u0301", "\u200b", "\u202e", "\ufeff", "..", "../x", "%00", `a\nb`, "-", "_", "=", "'", `"`, "a,b;c",
		} {
			t.Run(p.what+"/"+odd, func(t *testing.T) { p.takes(t, odd) })
		}
	}
}

func TestSegmentsAndWildcards(t *testing.T) {
	for _, p := range parsers() {
		t.Run(p.what, func(t *testing.T) {
			for _, s := range []string{"a:b", "1:admin", "tenant:1", "a:b:c:d"} {
				p.check(t, s, p.colon)
			}
			for _, s := range []string{":", "::", ":a", "a:", "a::b", ":a:b", "a:b:"} {
				p.check(t, s, p.hollow)
			}
			for _, s := range []string{"*", "**"} {
				p.check(t, s, p.wildcard)
			}
			for _, s := range []string{"*:a", "a:*", "a:*:b", "**:a", "a:**", "a:**:b", "*:*", "**:**"} {
				// A user id is not made of segments.
				p.check(t, s, p.wildcard || p.hollow)
			}
			for _, s := range []string{"*a:b", "a:*b", "a:b***", "***:a"} {
				p.check(t, s, p.colon)
			}
		})
	}
}

// texts are all that an *Error ever says.
func texts() []string {
	return []string{
		"must not be empty",
		"must not be longer than 64 bytes",
		"must not be longer than 128 bytes",
		"must not be longer than 200 bytes",
		"must be valid UTF-8",
		"must not contain white space or control characters",
		"must not contain ':'",
		"must not be a wildcard",
		"must not have an empty segment",
		"must not have a wildcard segment",
	}
}

// TestErrors holds the texts, which end up with clients, and that they quote
// nothing: names may be secret, huge, or an attack on whoever reads a log.
func TestErrors(t *testing.T) {
	const mark = "QXZ"
	byKind := make(map[string]parser)
	for _, p := range parsers() {
		byKind[p.what] = p
	}
	seen := make(map[string]bool)
	for _, c := range []struct{ what, name, want string }{
		{"tenant", "", "tenant must not be empty"},
		{"tenant", strings.Repeat(mark, 43), "tenant must not be longer than 128 bytes"},
		{"tenant", mark + "\xff", "tenant must be valid UTF-8"},
		{"tenant", mark + " " + mark, "tenant must not contain white space or control characters"},
		{"tenant", mark + ":admin", "tenant must not contain ':'"},
		{"tenant", "*", "tenant must not be a wildcard"},
		{"user", mark + "\n", "user must not contain white space or control characters"},
		{"user", "**", "user must not be a wildcard"},
		{"user", strings.Repeat(mark, 43), "user must not be longer than 128 bytes"},
		{"channel", mark + ":" + mark + "\x00", "channel must not contain white space or control characters"},
		{"channel", mark + "::" + mark, "channel must not have an empty segment"},
		{"channel", mark + ":**", "channel must not have a wildcard segment"},
		{"channel", strings.Repeat(mark, 67), "channel must not be longer than 200 bytes"},
		{"pattern", mark + ":", "pattern must not have an empty segment"},
		{"pattern", mark + "\t", "pattern must not contain white space or control characters"},
		{"notification type", mark + ":" + mark, "notification type must not contain ':'"},
		{"notification type", "*", "notification type must not be a wildcard"},
		{"notification type", strings.Repeat(mark, 22), "notification type must not be longer than 64 bytes"},
	} {
		_, err := byKind[c.what].parse(c.name)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %q: %v, want %q", c.what, c.name, err, c.want)
			continue
		}
		var e *address.Error
		if !errors.As(err, &e) {
			t.Fatalf("%T", err)
		}
		seen[e.Reason] = true
		if strings.Contains(err.Error(), mark) {
			t.Errorf("%v quotes the name", err)
		}
	}
	for _, text := range texts() {
		if !seen[text] {
			t.Errorf("no case ends in %q", text)
		}
	}
}

func TestZeroNames(t *testing.T) {
	if x := (address.TenantID{}); !x.IsZero() || x.String() != "" {
		t.Errorf("zero tenant: %q", x)
	}
	if x := (address.UserID{}); !x.IsZero() || x.String() != "" {
		t.Errorf("zero user: %q", x)
	}
	if tenant(t, "1").IsZero() || user(t, "1").IsZero() {
		t.Error("a parsed name is zero")
	}
	one, again := tenant(t, "1"), tenant(t, "1")
	if one != again || one == tenant(t, "10") || user(t, "é") == user(t, "e\u0301") {
		t.Error("names do not compare as their bytes do")
	}
}

// FuzzParseNames: what is accepted is within the rules, whatever parsed it,
// and what is refused is refused in fixed words.
func FuzzParseNames(f *testing.F) {
	for _, s := range []string{"", "a", "1:admin", "*", "**", "a b", "a\x00", "\xff", "é", "\u2028", "a::b", strings.Repeat("x", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range parsers() {
			got, err := p.parse(s)
			if err != nil {
				var e *address.Error
				if !errors.As(err, &e) || e.What != p.what || got != "" || !slices.Contains(texts(), e.Reason) {
					t.Fatalf("%s: %q, %v", p.what, got, err)
				}
				continue
			}
			switch {
			case got != s:
				t.Fatalf("%s became %q", p.what, got)
			case s == "", len(s) > p.limit, !utf8.ValidString(s), strings.ContainsFunc(s, forbidden):
				t.Fatalf("%s was accepted", p.what)
			case !p.colon && strings.Contains(s, ":"):
				t.Fatalf("%s with a colon was accepted", p.what)
			case !p.wildcard && (s == "*" || s == "**"):
				t.Fatalf("%s that is a wildcard was accepted", p.what)
			}
		}
	})
}

func tenant(t testing.TB, s string) address.TenantID {
	t.Helper()
	v, err := address.ParseTenantID(s)
	if err != nil {
		t.Fatalf("tenant %q: %v", s, err)
	}
	return v
}

func user(t testing.TB, s string) address.UserID {
	t.Helper()
	v, err := address.ParseUserID(s)
	if err != nil {
		t.Fatalf("user %q: %v", s, err)
	}
	return v
}

func channel(t testing.TB, s string) address.Channel {
	t.Helper()
	v, err := address.ParseChannel(s)
	if err != nil {
		t.Fatalf("channel %q: %v", s, err)
	}
	return v
}
