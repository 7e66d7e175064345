package handshake

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"

	"github.com/gobwas/ws"
)

// Dialect is the protocol spoken above WebSocket.
type Dialect uint8

// The dialects.
const (
	// Plain is one JSON object per text frame. It is spoken when nothing or
	// pushd.plain was offered.
	Plain Dialect = iota + 1
	// JSON is pushd.v1.json: text frames of one or more JSON objects.
	JSON
	// Proto is pushd.v1.proto: binary frames of one or more protobuf messages.
	Proto

	// Dialects is one more than the last of them.
	Dialects
)

// tokenPrefix begins the item that carries a token, as browsers can't set
// headers. It is never selected.
const tokenPrefix = "pushd.jwt." //nolint:gosec // A name, not a token.

// String returns the subprotocol of the dialect.
func (d Dialect) String() string {
	switch d {
	case Plain:
		return "pushd.plain"
	case JSON:
		return "pushd.v1.json"
	case Proto:
		return "pushd.v1.proto"
	default:
		return "none"
	}
}

// parseDialect returns the dialect of a subprotocol, 0 if it is none.
func parseDialect(subprotocol []byte) Dialect {
	for d := Plain; d < Dialects; d++ {
		if string(subprotocol) == d.String() {
			return d
		}
	}
	return 0
}

// offers gathers the subprotocols of all Sec-WebSocket-Protocol fields: they
// are one list.
type offers struct {
	any bool
	// first is the first known dialect among them; 0: none.
	first Dialect
	token string
}

// add takes in one field and reports whether it is well-formed.
func (o *offers) add(value []byte) bool {
	for e := range elements(value, ',') {
		if !isToken(e) {
			return false
		}
		o.any = true
		token, isJWT := bytes.CutPrefix(e, []byte(tokenPrefix))
		switch {
		case isJWT && o.token == "":
			o.token = string(token)
		case o.first == 0:
			o.first = parseDialect(e)
		}
	}
	return true
}

// choose returns the header that tells the choice; nil: nothing is told.
func (o *offers) choose() (ws.HandshakeHeader, *Rejection) {
	switch {
	case o.first != 0:
		return ws.HandshakeHeaderString("Sec-WebSocket-Protocol: " + o.first.String() + "\r\n"), nil
	case o.any:
		// A browser fails a connection whose offer was not taken up, so this
		// can't be Plain without a word.
		return nil, reject(http.StatusBadRequest, ReasonSubprotocol, fmt.Sprintf(
			"offer a known subprotocol, %s, %s or %s, or none; an item that carries a token is not one", Plain, JSON, Proto))
	default:
		return nil, nil
	}
}

// dialect returns what is spoken after an offer that choose has taken.
func (o *offers) dialect() Dialect { return cmp.Or(o.first, Plain) }
