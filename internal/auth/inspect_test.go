package auth_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/auth"
)

func TestInspectShows(t *testing.T) {
	big := `{"meta":"` + strings.Repeat("x", 5<<10) + `"}`
	for name, c := range map[string]struct{ header, claims, signature string }{
		"any signature": {`{"alg":"HS256"}`, `{"a": 1}`, "AAAA"},
		"no signature":  {`{"alg":"none"}`, `{}`, ""},
		"names twice":   {`{"alg":"a","alg":"b"}`, `{"x":1,"x":2}`, "AAAA"},
		"too long":      {`{}`, big, "AAAA"},
	} {
		t.Run(name, func(t *testing.T) {
			header, claims, err := auth.Inspect(encode(c.header, c.claims) + "." + c.signature)
			if err != nil || string(header) != c.header || string(claims) != c.claims {
				t.Errorf("got %s %s %v", header, claims, err)
			}
		})
	}
}

func TestInspectRefusals(t *testing.T) {
	for name, token := range map[string]string{
		"empty":         "",
		"nonsense":      "canary",
		"one dot":       "e30.e30",
		"three dots":    "e30.e30.AA.AA",
		"no header":     ".e30.AA",
		"no claims":     "e30..AA",
		"padding":       "e30=.e30.AA",
		"trailing bits": "e31.e30.AA",
		"header array":  encode(`["canary"]`, `{}`) + ".AA",
		"claims text":   encode(`{}`, `canary`) + ".AA",
		"claims null":   encode(`{}`, `null`) + ".AA",
		"claims cut":    encode(`{}`, `{"canary":`) + ".AA",
		"bad UTF-8":     encode(`{}`, "{\"canary\":\"\xff\"}") + ".AA",
		"too long":      encode(`{}`, `{"x":"`+strings.Repeat("x", 64<<10)+`"}`) + ".AA",
		"too deep":      encode(`{}`, `{"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}`) + ".AA",
	} {
		t.Run(name, func(t *testing.T) {
			header, claims, err := auth.Inspect(token)
			if header != nil || claims != nil || !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("got %s %s %v", header, claims, err)
			}
			checkSaysNothing(t, err.Error(), token)
		})
	}
}
