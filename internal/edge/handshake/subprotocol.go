package handshake

import (
	"bytes"
	"net/http"

	"github.com/gobwas/ws"
)

// Dialect is the protocol spoken above WebSocket.
type Dialect uint8

// Plain is one JSON object per text frame. It is spoken when nothing or
// pushd.plain was offered.
const Plain Dialect = iota + 1

const (
	plainSubprotocol = "pushd.plain"
	// tokenPrefix begins the item that carries a token, as browsers can't set
	// headers. It is never selected.
	tokenPrefix = "pushd.jwt." //nolint:gosec // A name, not a token.
)

// offers gathers the subprotocols of all Sec-WebSocket-Protocol fields: they
// are one list.
type offers struct {
	any, plain bool
	token      string
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
		case string(e) == plainSubprotocol:
			o.plain = true
		}
	}
	return true
}

// choose returns the header that tells the choice; nil: nothing is told.
func (o *offers) choose() (ws.HandshakeHeader, *Rejection) {
	switch {
	case o.plain:
		return ws.HandshakeHeaderString("Sec-WebSocket-Protocol: " + plainSubprotocol + "\r\n"), nil
	case o.any:
		// A browser fails a connection whose offer was not taken up, so this
		// can't be Plain without a word.
		return nil, reject(http.StatusBadRequest, ReasonSubprotocol,
			"offer a known subprotocol, "+plainSubprotocol+", or none; an item that carries a token is not one")
	default:
		return nil, nil
	}
}
