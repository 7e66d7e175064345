package address_test

import (
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
)

func pattern(t testing.TB, s string) address.Pattern {
	t.Helper()
	p, err := address.ParsePattern(s)
	if err != nil {
		t.Fatalf("pattern %q: %v", s, err)
	}
	return p
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, channel string
		want             bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a:b", false},
		{"a:b", "a", false},
		{"a:b", "a:b", true},

		{"*", "a", true},
		{"*", "a:b", false},
		{"*:*", "a:b", true},
		{"*:*", "a", false},
		{"a:*", "a:b", true},
		{"a:*", "a", false},
		{"a:*", "a:b:c", false},
		{"*:b", "a:b", true},
		{"*:b", "a:c", false},

		{"**", "a", true},
		{"**", "a:b:c", true},
		{"a:**", "a", false},
		{"a:**", "a:b", true},
		{"a:**", "a:b:c:d", true},
		{"**:a", "a", false},
		{"**:a", "b:a", true},
		{"**:a", "a:a:a", true},
		{"**:a", "a:b", false},
		{"a:**:z", "a:z", false},
		{"a:**:z", "a:b:z", true},
		{"a:**:z", "a:z:b:z", true},
		{"a:**:z", "a:z:b", false},
		{"**:**", "a", false},
		{"**:**", "a:b", true},
		{"**:*", "a:b", true},
		{"*:**", "a", false},
		{"**:b:**", "a:b", false},
		{"**:b:**", "a:b:c", true},
		{"**:b:**:b", "b:b:b:b", true},
		{"**:b:c:**", "a:b:b:c:d", true},
		{"*:**:*", "a:b:c", true},
		{"*:**:*", "a:b", false},

		// By whole segments, never by prefix.
		{"tenant:1", "tenant:10", false},
		{"tenant:1:**", "tenant:10:x", false},
		{"tenant:1:**", "tenant:1:x", true},
		{"ten*:1", "tenant:1", false},
		{"a:***", "a:b", false},
		{"a:***", "a:***", true},

		// Bytes count, and nothing but wildcards is special.
		{"A", "a", false},
		{"é", "e\u0301", false},
		{"東:*", "東:京", true},
		{"a.b", "a:b", false},
		{"a.*", "a.b", false},
		{">", "a", false},
		{"a:>", "a:b:c", false},
		{"?", "a", false},
		{"[ab]", "a", false},
	} {
		if got := pattern(t, c.pattern).Match(channel(t, c.channel)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.channel, got)
		}
	}
}

func TestZeroPattern(t *testing.T) {
	var p address.Pattern
	if p.Match(channel(t, "a")) || p.String() != "" {
		t.Error("the zero pattern matches")
	}
	if p.Match(address.Channel{}) || pattern(t, "**").Match(address.Channel{}) || pattern(t, "*").Match(address.Channel{}) {
		t.Error("the zero channel is matched")
	}
}

// matches is the definition, written as such.
func matches(pattern, name []string) bool {
	if len(pattern) == 0 || len(name) == 0 {
		return len(pattern) == len(name)
	}
	switch pattern[0] {
	case "*":
		return matches(pattern[1:], name[1:])
	case "**":
		return matches(pattern[1:], name[1:]) || matches(pattern, name[1:])
	default:
		return pattern[0] == name[0] && matches(pattern[1:], name[1:])
	}
}

// words returns every text of 1 to n segments out of alphabet.
func words(alphabet []string, n int) []string {
	last := []string{""}
	var all []string
	for range n {
		var next []string
		for _, head := range last {
			for _, seg := range alphabet {
				next = append(next, strings.TrimPrefix(head+":"+seg, ":"))
			}
		}
		all = append(all, next...)
		last = next
	}
	return all
}

// TestMatchAgreesWithDefinition tries all short patterns on all short names.
func TestMatchAgreesWithDefinition(t *testing.T) {
	segments, names := 5, 6
	if testing.Short() {
		segments, names = 4, 4
	}
	var channels []address.Channel
	var split [][]string
	for _, name := range words([]string{"a", "b"}, names) {
		channels = append(channels, channel(t, name))
		split = append(split, strings.Split(name, ":"))
	}
	hits := 0
	for _, text := range words([]string{"a", "b", "*", "**"}, segments) {
		p, parts := pattern(t, text), strings.Split(text, ":")
		for i, c := range channels {
			want := matches(parts, split[i])
			if got := p.Match(c); got != want {
				t.Errorf("%q matches %q: %v", text, c, got)
			}
			if want {
				hits++
			}
		}
	}
	if hits == 0 {
		t.Error("nothing matched")
	}
}

// TestMatchIsBounded has the pattern that takes a backtracking matcher longer
// than the age of the universe.
func TestMatchIsBounded(t *testing.T) {
	p := pattern(t, strings.Repeat("**:a:", 39)+"b")
	if p.Match(channel(t, "a"+strings.Repeat(":a", 99))) {
		t.Error("matched")
	}
	if !p.Match(channel(t, "a"+strings.Repeat(":a", 98)+":b")) {
		t.Error("did not match")
	}
}

// FuzzPattern compares Match with the definition. The latter is exponential:
// long inputs only have to end.
func FuzzPattern(f *testing.F) {
	f.Add("a:*:**", "a:b:c")
	f.Add("**:a:**:b", "a:a:b:a:b")
	f.Add("**", "x")
	f.Add("tenant:1:**", "tenant:10:x")
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := address.ParsePattern(text)
		if err != nil {
			return
		}
		c, err := address.ParseChannel(name)
		if err != nil {
			return
		}
		got := p.Match(c)
		parts, segments := strings.Split(text, ":"), strings.Split(name, ":")
		if len(parts) > 8 || len(segments) > 12 {
			return
		}
		if want := matches(parts, segments); got != want {
			t.Fatalf("got %v", got)
		}
		if text == name && !got {
			t.Fatal("a name does not match itself")
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	c := channel(b, "tenant:acme:project:42:comments")
	for _, text := range []string{"tenant:acme:**", "tenant:*:project:*:comments", "**:comments"} {
		b.Run(text, func(b *testing.B) {
			p := pattern(b, text)
			b.ReportAllocs()
			for b.Loop() {
				if !p.Match(c) {
					b.Fatal("no match")
				}
			}
		})
	}
}
