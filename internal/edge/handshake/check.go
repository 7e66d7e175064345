package handshake

import (
	"encoding/base64"
	"net/http"
)

// nonceBytes is the length of the key of RFC 6455 section 4.1.
const nonceBytes = 16

// checkUpgrade holds a request for a WebSocket path against RFC 6455 section
// 4.2.1.
func (r *request) checkUpgrade() *Rejection {
	switch {
	case r.minor != '1':
		return reject(http.StatusHTTPVersionNotSupported, ReasonHTTPVersion, "WebSocket needs HTTP/1.1")
	case string(r.method) != http.MethodGet:
		rej := reject(http.StatusMethodNotAllowed, ReasonMethod, "WebSocket needs GET")
		rej.noBody = string(r.method) == http.MethodHead
		return rej
	case r.seen[fieldTransferEncoding],
		r.seen[fieldContentLength] && string(r.values[fieldContentLength]) != "0":
		return reject(http.StatusBadRequest, ReasonBody, "a WebSocket request has no body")
	case !isAuthority(string(r.values[fieldHost])):
		return reject(http.StatusBadRequest, ReasonHost, "Host is not host[:port]")
	case !equalFold(r.values[fieldUpgrade], "websocket"):
		return reject(http.StatusUpgradeRequired, ReasonUpgrade, "this path speaks WebSocket only: Upgrade: websocket is missing")
	case !hasToken(r.values[fieldConnection], "upgrade"):
		return reject(http.StatusBadRequest, ReasonConnection, "Connection: Upgrade is missing; a proxy may have removed it")
	case string(r.values[fieldVersion]) != "13":
		return reject(http.StatusUpgradeRequired, ReasonVersion, "Sec-WebSocket-Version must be 13")
	case !isNonce(r.values[fieldKey]):
		return reject(http.StatusBadRequest, ReasonKey, "Sec-WebSocket-Key must be base64 of 16 bytes")
	default:
		return nil
	}
}

func hasToken(list []byte, token string) bool {
	for e := range elements(list, ',') {
		if equalFold(e, token) {
			return true
		}
	}
	return false
}

func isNonce(key []byte) bool {
	const encoded = (nonceBytes + 2) / 3 * 4
	if len(key) != encoded {
		return false
	}
	var nonce [encoded]byte
	n, err := base64.StdEncoding.Decode(nonce[:], key)
	return err == nil && n == nonceBytes
}
