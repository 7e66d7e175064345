package auth

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decodeObject decodes text, which must be one JSON object and no more, by
// RFC 7493: names are unique and text is UTF-8. what names it in the error.
func decodeObject(what string, text []byte, into any, opts ...json.Options) error {
	if jsontext.Value(text).Kind() != jsontext.KindBeginObject {
		return refuse(what + " must be a JSON object")
	}
	switch err := json.Unmarshal(text, into, opts...); {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return refuse(what + " must not hold a name twice")
	case errors.Is(err, json.ErrUnknownName):
		return refuse(what + " holds an unknown name")
	case err != nil:
		return refuse(what + " must be strict JSON")
	default:
		return nil
	}
}

// readString returns the string that v is.
func readString(name string, v jsontext.Value) (string, error) {
	if v.Kind() != jsontext.KindString {
		return "", refuse(name + " must be a string")
	}
	text, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", refuse(name + " must be a string")
	}
	return string(text), nil
}

// readStrings returns the strings of the array that v is; an absent v has none.
func readStrings(name string, v jsontext.Value) ([]string, error) {
	if len(v) == 0 {
		return nil, nil
	}
	var values []jsontext.Value
	if v.Kind() != jsontext.KindBeginArray || json.Unmarshal(v, &values) != nil {
		return nil, refuse(name + " must be an array of strings")
	}
	all := make([]string, 0, len(values))
	for _, value := range values {
		text, err := readString(name+" element", value)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}
