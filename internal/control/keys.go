package control

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Bounds of a key file.
const (
	minKeyBytes  = 32
	maxKeyBytes  = 1024 // it must fit in a header
	maxNameBytes = minKeyBytes - 1
	maxKeys      = 1000
	maxKeyFile   = 1 << 20
)

// Key is one bearer key, known by its digest only.
type Key struct {
	name   string
	digest [sha256.Size]byte
}

// String returns the name of the key; it says nothing about the key itself.
func (k Key) String() string { return k.name }

// Keys are the keys that open the API. They are immutable and safe for
// concurrent use.
type Keys []Key

// ParseKeys reads a key file: one key a line, "KEY" or "NAME KEY". A key is 32
// to 1024 visible ASCII characters, a name at most 31; without a name the key
// is called by the number of its line. Empty lines and lines that begin with
// '#' are skipped. A file over 1 MiB, more than 1000 keys and a key given twice
// are errors. Errors name the line and never quote it. The result may be empty.
func ParseKeys(r io.Reader) (Keys, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	var keys Keys
	lines := make(map[[sha256.Size]byte]int)
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		line = bytes.Trim(line, " \t\r")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := parseKey(line, n)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if first := lines[key.digest]; first != 0 {
			return nil, fmt.Errorf("line %d: same key as line %d", n, first)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
		lines[key.digest] = n
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(line []byte, n int) (Key, error) {
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	name, key := "line "+strconv.Itoa(n), words[len(words)-1]
	switch {
	case len(words) > 2:
		return Key{}, errors.New("must be KEY or NAME KEY")
	case !visible(line):
		return Key{}, errors.New("must be visible ASCII characters")
	case len(key) < minKeyBytes:
		return Key{}, fmt.Errorf("key must have at least %d characters", minKeyBytes)
	case len(key) > maxKeyBytes:
		return Key{}, fmt.Errorf("key must have at most %d characters", maxKeyBytes)
	}
	if len(words) == 2 {
		// What is as long as a key may be one, and names are logged.
		if len(words[0]) > maxNameBytes {
			return Key{}, fmt.Errorf("name must have at most %d characters", maxNameBytes)
		}
		name = string(words[0])
	}
	return Key{name, sha256.Sum256(key)}, nil
}

// visible reports whether text is printable ASCII, spaces and tabs.
func visible(text []byte) bool {
	for _, b := range text {
		if (b < ' ' || b > '~') && b != '\t' {
			return false
		}
	}
	return true
}

// find returns the name of the key that is given. It takes the same time for
// every key, found or not.
func (k Keys) find(given string) (name string, ok bool) {
	digest := sha256.Sum256([]byte(given))
	found := -1
	for i := range k {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k[i].digest[:], digest[:]), i, found)
	}
	if found < 0 {
		return "", false
	}
	return k[found].name, true
}
