package frame

import "unicode/utf8"

// textCheck checks that text is UTF-8 while it comes in pieces.
type textCheck struct {
	// cut holds the first n bytes of a character that is incomplete.
	cut [utf8.UTFMax]byte
	n   int
}

// feed takes the next piece and reports whether the text can still become
// valid. After false it must not be used again.
func (c *textCheck) feed(piece []byte) bool {
	for c.n > 0 && len(piece) > 0 {
		c.cut[c.n] = piece[0]
		c.n++
		piece = piece[1:]
		// A character that can't become valid counts as full.
		if !utf8.FullRune(c.cut[:c.n]) {
			continue
		}
		if !utf8.Valid(c.cut[:c.n]) {
			return false
		}
		c.n = 0
	}
	whole := len(piece) - cutTail(piece)
	c.n += copy(c.cut[c.n:], piece[whole:])
	return utf8.Valid(piece[:whole])
}

// complete reports whether the text may end here.
func (c *textCheck) complete() bool { return c.n == 0 }

// cutTail returns the length of the incomplete character that p ends with, 0
// if it ends with none.
func cutTail(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if utf8.FullRune(tail) {
			return 0
		}
		return n
	}
	return 0
}
