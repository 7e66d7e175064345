package e2e_test

import (
	"strings"
	"testing"
)

// What runs over all outputs at the end of the run must be able to find
// something.
func TestOutputsAreLookedThrough(t *testing.T) {
	token := sign(t, claims{"tenantId": "acme"})
	for name, c := range map[string]struct {
		output string
		bad    bool
	}{
		"clean":          {`level=INFO msg="draining"`, false},
		"token":          {"msg=" + token, true},
		"claims only":    {strings.Split(token, ".")[1], true},
		"signature only": {`sig="` + strings.Split(token, ".")[2] + `"`, true},
		"secret":         {"key " + secret, true},
		"canary":         {"tenant=a-" + canary, true},
		"unknown token":  {"eyJhbGciOiJub25lIn0.e30.", true},
		"race":           {"WARNING: DATA RACE", true},
		"crash":          {"panic: runtime error", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkOutput(c.output); (err != nil) != c.bad {
				t.Errorf("got %v", err)
			}
		})
	}
}
