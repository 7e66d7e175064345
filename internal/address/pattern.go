package address

import "strings"

// Pattern selects channels by whole segments: "*" matches one segment, "**"
// one or more. The zero value matches nothing.
type Pattern struct{ text string }

// ParsePattern validates s by the rules of channel names, with "*" and "**"
// allowed as whole segments. The error is an *Error.
func ParsePattern(s string) (Pattern, error) {
	if err := checkText("pattern", s, MaxChannel); err != nil {
		return Pattern{}, err
	}
	for seg := range strings.SplitSeq(s, ":") {
		if seg == "" {
			return Pattern{}, &Error{"pattern", "must not have an empty segment"}
		}
	}
	return Pattern{s}, nil
}

// String returns the pattern as it was given.
func (p Pattern) String() string { return p.text }

// Match reports whether p selects c. Its time is bounded by the product of the
// two lengths.
func (p Pattern) Match(c Channel) bool {
	if p.text == "" || c.name == "" {
		return false
	}
	return matchSegments(strings.Split(p.text, ":"), strings.Split(c.name, ":"))
}

// matchSegments is the usual two-pointer wildcard match: on a mismatch it goes
// back to the last "**" and lets that take one segment more.
func matchSegments(pattern, name []string) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, mark = p, n+1
			p, n = p+1, n+1
		case p < len(pattern) && (pattern[p] == "*" || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return p == len(pattern)
}
