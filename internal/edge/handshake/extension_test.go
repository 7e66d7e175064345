package handshake_test

import (
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// deflateAnswer returns the Sec-WebSocket-Extensions of the answer to offers,
// each a field of its own; empty: there is none.
func deflateAnswer(t *testing.T, on bool, offers ...string) string {
	t.Helper()
	o := handshake.DefaultOptions()
	o.Compression = on
	h := upgradeHead()
	for _, offer := range offers {
		h = h.add("Sec-WebSocket-Extensions: " + offer)
	}
	answer := expectUpgrade(t, newHandshaker(t, o), h.String()).answer
	_, rest, found := strings.Cut(answer, "Sec-WebSocket-Extensions: ")
	if !found {
		return ""
	}
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

func TestDeflateNegotiation(t *testing.T) {
	const plainYes = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	for name, c := range map[string]struct {
		want   string
		offers []string
	}{
		"nothing":              {"", nil},
		"bare":                 {plainYes, []string{"permessage-deflate"}},
		"browser":              {plainYes, []string{"permessage-deflate; client_max_window_bits"}},
		"client window":        {plainYes, []string{"permessage-deflate; client_max_window_bits=10"}},
		"no context":           {plainYes, []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}},
		"full server window":   {plainYes + ";server_max_window_bits=15", []string{"permessage-deflate; server_max_window_bits=15"}},
		"small server window":  {"", []string{"permessage-deflate; server_max_window_bits=10"}},
		"bad server window":    {"", []string{"permessage-deflate; server_max_window_bits=7"}},
		"empty server window":  {"", []string{"permessage-deflate; server_max_window_bits"}},
		"client window 7":      {"", []string{"permessage-deflate; client_max_window_bits=7"}},
		"client window 16":     {"", []string{"permessage-deflate; client_max_window_bits=16"}},
		"client window 08":     {"", []string{"permessage-deflate; client_max_window_bits=08"}},
		"client window word":   {"", []string{"permessage-deflate; client_max_window_bits=x"}},
		"flag with a value":    {"", []string{"permessage-deflate; server_no_context_takeover=1"}},
		"unknown parameter":    {"", []string{"permessage-deflate; fast"}},
		"twice the same":       {"", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}},
		"another extension":    {"", []string{"x-webkit-deflate-frame"}},
		"second offer is good": {plainYes, []string{"permessage-deflate; server_max_window_bits=9, permessage-deflate"}},
		"second field is good": {plainYes, []string{"x", "permessage-deflate"}},
		"first good one wins":  {plainYes, []string{"permessage-deflate, permessage-deflate; server_max_window_bits=15"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.ReplaceAll(deflateAnswer(t, true, c.offers...), " ", "")
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := deflateAnswer(t, false, c.offers...); got != "" {
				t.Errorf("switched off: %q", got)
			}
		})
	}
}
