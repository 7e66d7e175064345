package handshake

import (
	"strconv"

	"github.com/gobwas/httphead"
)

// The parameters of permessage-deflate (RFC 7692, section 7.1).
const (
	deflateName           = "permessage-deflate"
	serverNoContext       = "server_no_context_takeover"
	clientNoContext       = "client_no_context_takeover"
	serverWindow          = "server_max_window_bits"
	clientWindow          = "client_max_window_bits"
	minWindow, fullWindow = 8, 15
)

// negotiate takes the first offer of permessage-deflate that can be met. It
// answers that neither side keeps a context, so that one compressed message
// serves all receivers and an idle connection holds no window. An offer that is
// not understood to the letter is declined, not guessed at.
func (u *upgrade) negotiate(offer httphead.Option) (httphead.Option, error) {
	if !u.h.opts.Compression || u.deflate || string(offer.Name) != deflateName {
		return httphead.Option{}, nil
	}
	seen := make(map[string]bool, 4)
	good := true
	offer.Parameters.ForEach(func(key, value []byte) bool {
		good = !seen[string(key)] && validParameter(string(key), string(value))
		seen[string(key)] = true
		return good
	})
	if !good {
		return httphead.Option{}, nil
	}
	u.deflate = true
	answer := httphead.Option{Name: []byte(deflateName)}
	answer.Parameters.Set([]byte(serverNoContext), nil)
	answer.Parameters.Set([]byte(clientNoContext), nil)
	if seen[serverWindow] {
		answer.Parameters.Set([]byte(serverWindow), []byte(strconv.Itoa(fullWindow)))
	}
	return answer, nil
}

// validParameter reports whether a parameter of an offer can be met.
func validParameter(key, value string) bool {
	switch key {
	case serverNoContext, clientNoContext:
		return value == ""
	case serverWindow:
		// Go's compressor has the full window only.
		return value == strconv.Itoa(fullWindow)
	case clientWindow:
		bits, err := strconv.Atoi(value)
		return value == "" || err == nil && bits >= minWindow && bits <= fullWindow && value == strconv.Itoa(bits)
	default:
		return false
	}
}
