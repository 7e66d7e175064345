package auth

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// Inspect returns header and claims of a token of at most 64 KiB as they stand,
// each a JSON object. Nothing is verified: anybody can have written them. More
// passes here than Verify accepts, so that a refused token can be looked at.
func Inspect(text string) (header, claims json.RawMessage, err error) {
	t, err := parseToken(text, maxInspect)
	if err != nil {
		return nil, nil, err
	}
	if !isObject(t.header) {
		return nil, nil, refuse("header must be a JSON object")
	}
	if !isObject(t.claims) {
		return nil, nil, refuse("claims must be a JSON object")
	}
	return t.header, t.claims, nil
}

func isObject(text jsontext.Value) bool {
	return text.Kind() == jsontext.KindBeginObject && text.IsValid(jsontext.AllowDuplicateNames(true))
}
