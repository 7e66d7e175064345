package handshake

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Reason says why a handshake was refused. The list is closed: it is the
// label of a metric.
type Reason string

// The reasons, each with the status it is answered with.
const (
	ReasonMalformed   Reason = "malformed"        // 400: not the grammar of HTTP/1.1
	ReasonDuplicate   Reason = "duplicate_header" // 400: a field that may come only once
	ReasonHost        Reason = "host"             // 400: no Host, or no host in it
	ReasonBody        Reason = "body"             // 400: an upgrade carries no body
	ReasonConnection  Reason = "connection"       // 400: Connection without Upgrade
	ReasonKey         Reason = "key"              // 400: the key is not base64 of 16 bytes
	ReasonSubprotocol Reason = "subprotocol"      // 400: none of those offered is known
	ReasonOrigin      Reason = "origin"           // 403
	ReasonMethod      Reason = "method"           // 405
	ReasonTimeout     Reason = "timeout"          // 408: the head did not come in time
	ReasonExpect      Reason = "expect"           // 417: Expect is not 100-continue
	ReasonUpgrade     Reason = "no_upgrade"       // 426: not a WebSocket request
	ReasonVersion     Reason = "version"          // 426: not version 13
	ReasonRateLimited Reason = "rate_limited"     // 429: said by Admit
	ReasonTooLarge    Reason = "head_too_large"   // 431
	ReasonTooMany     Reason = "too_many_headers" // 431
	ReasonUnavailable Reason = "unavailable"      // 503: said by Admit
	ReasonHTTPVersion Reason = "http_version"     // 505: not HTTP/1.1
)

// reasons lists all of the above.
func reasons() []Reason {
	return []Reason{
		ReasonMalformed, ReasonDuplicate, ReasonHost, ReasonBody, ReasonConnection, ReasonKey,
		ReasonSubprotocol, ReasonOrigin, ReasonMethod, ReasonTimeout, ReasonExpect, ReasonUpgrade, ReasonVersion,
		ReasonRateLimited, ReasonTooLarge, ReasonTooMany, ReasonUnavailable, ReasonHTTPVersion,
	}
}

// Rejection is the error of a handshake that was answered with an HTTP
// status. The answer is written as far as the peer took it.
type Rejection struct {
	// Status is the HTTP status of the answer.
	Status int
	// Reason is why.
	Reason Reason

	text       string        // the body; never holds bytes of the peer
	retryAfter time.Duration // set with 429 and 503
	noBody     bool          // the answer to HEAD
}

func reject(status int, reason Reason, text string) *Rejection {
	return &Rejection{Status: status, Reason: reason, text: text}
}

func malformed(text string) *Rejection {
	return reject(http.StatusBadRequest, ReasonMalformed, text)
}

// rejection turns what Admit said into what the client is told.
func (r *Refusal) rejection() *Rejection {
	rej := reject(http.StatusServiceUnavailable, ReasonUnavailable, r.Reason)
	if r.Status == http.StatusTooManyRequests {
		rej.Status, rej.Reason = r.Status, ReasonRateLimited
	}
	rej.retryAfter = max(r.RetryAfter, time.Second)
	return rej
}

// Error implements error.
func (r *Rejection) Error() string {
	return fmt.Sprintf("handshake refused with %d: %s", r.Status, r.Reason)
}

// response returns the whole HTTP answer.
func (r *Rejection) response() []byte {
	body := r.text + "\n"
	b := make([]byte, 0, 512)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(r.Status)...)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Cache-Control: no-store\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = r.appendFields(b)
	b = append(b, "\r\n"...)
	if !r.noBody {
		b = append(b, body...)
	}
	return b
}

// appendFields adds the header fields that depend on the status.
func (r *Rejection) appendFields(b []byte) []byte {
	switch r.Status {
	case http.StatusUpgradeRequired:
		// RFC 9110 section 15.5.22 wants Upgrade here, and section 7.8 then
		// wants it named in Connection.
		return append(b, "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	case http.StatusMethodNotAllowed:
		b = append(b, "Allow: GET\r\n"...)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		b = append(b, "Retry-After: "...)
		seconds := (r.retryAfter + time.Second - 1) / time.Second
		b = strconv.AppendInt(b, int64(seconds), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "Connection: close\r\n"...)
}
