package handshake

import "iter"

// The grammar of RFC 9110 section 5.6, in ASCII only: bytes.EqualFold would
// take U+017F for an s.

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

func toLower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// isToken reports whether b is a token: a name of a method, field or
// subprotocol.
func isToken(b []byte) bool {
	for _, c := range b {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

func isTokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	default:
		return isDigit(c) || isLetter(c)
	}
}

// equalFold compares b in any case with s, which is lower case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if toLower(c) != s[i] {
			return false
		}
	}
	return true
}

// trimBlanks cuts spaces and tabs from both ends.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// elements yields what stands between the separators of a list, without
// blanks around. Empty elements are left out, as RFC 9110 section 5.6.1 asks
// of recipients.
func elements(list []byte, separator byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start := 0
		for i := 0; i <= len(list); i++ {
			if i < len(list) && list[i] != separator {
				continue
			}
			e := trimBlanks(list[start:i])
			start = i + 1
			if len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}
