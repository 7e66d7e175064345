package message

import "bytes"

// OneLine replaces CR and LF by spaces, in place, and returns text: what a
// Payload is made of. In JSON they stand between tokens only, so nothing is
// changed that a reader could see.
func OneLine(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	for i, b := range text {
		if b == '\r' || b == '\n' {
			text[i] = ' '
		}
	}
	return text
}
