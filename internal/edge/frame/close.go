package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// checkClose applies the rules for the body of a close frame: nothing, or a
// code and a reason.
func checkClose(body []byte) error {
	switch {
	case len(body) == 0:
		return nil
	case len(body) == 1:
		return protocolError("close frame is too short")
	case !mayClose(ws.StatusCode(binary.BigEndian.Uint16(body))):
		return protocolError("close code is not allowed")
	case !utf8.Valid(body[2:]):
		return badText("close reason is not UTF-8")
	}
	return nil
}

// mayClose reports whether a client may send code: the registered codes that
// can stand on the wire, and the ranges for libraries and applications.
func mayClose(code ws.StatusCode) bool {
	switch code {
	case 1004, ws.StatusNoStatusRcvd, ws.StatusAbnormalClosure:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}
