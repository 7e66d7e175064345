package auth

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// header holds the members of a token's header that decide something. A member
// that is absent is empty.
type header struct {
	Alg  jsontext.Value `json:"alg"`
	Typ  jsontext.Value `json:"typ"`
	B64  jsontext.Value `json:"b64"`
	Crit jsontext.Value `json:"crit"`
	JWK  jsontext.Value `json:"jwk"`
	JKU  jsontext.Value `json:"jku"`
	X5U  jsontext.Value `json:"x5u"`
	X5C  jsontext.Value `json:"x5c"`
}

// readAlgorithm returns "alg" of a header that asks for nothing unusual.
func readAlgorithm(text []byte) (string, error) {
	var h header
	if err := decodeObject("header", text, &h); err != nil {
		return "", err
	}
	switch {
	case len(h.Crit) > 0:
		return "", refuse("header must not have critical extensions")
	case len(h.JWK) > 0 || len(h.JKU) > 0 || len(h.X5U) > 0 || len(h.X5C) > 0:
		return "", refuse("header must not bring a key")
	case len(h.B64) > 0 && h.B64.Kind() != jsontext.KindTrue:
		return "", refuse("payload must be encoded")
	}
	if len(h.Typ) > 0 {
		typ, err := readString("typ", h.Typ)
		if err != nil {
			return "", err
		}
		// Tokens of other services, such as logout+jwt, are signed by the same
		// keys and mean something else.
		if !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") {
			return "", refuse("typ must be JWT or at+jwt")
		}
	}
	return readString("alg", h.Alg)
}
