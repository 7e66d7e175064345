// Package handshake takes a fresh socket through the opening handshake of
// RFC 6455, within bounds of bytes, header fields and time.
//
// [Handshaker.Do] reads one request head and ends in one of four ways:
//
//   - [Upgraded]: the 101 is made, for the caller to send: its own first words
//     go out with it in one write. The deadline is off.
//   - *[Rejection]: a complete HTTP answer is written, the writing side is shut
//     and the peer had lingerTimeout to read it. The caller closes the socket.
//   - *[Passthrough]: a well-formed HTTP request for another path. Its Conn
//     replays what was read, its deadline is off; the caller serves it.
//   - any other error: the socket broke. The caller closes it.
//
// The caller owns the socket before, during (it may close it to end Do early)
// and after the call. Do starts no goroutine and keeps no reference. It lasts
// at most until Options.Timeout after its beginning, however the bytes trickle in, plus
// lingerTimeout for a refusal; the hook Options.Admit must not block.
//
// The head is checked twice. The strict check comes first and knows nothing
// of the application: the size, the grammar of RFC 9112 without its leniencies,
// fields that may come only once, and the demands of RFC 6455 section 4.2.1.
// Only a head that passed is shown to ws.Upgrader, whose callbacks gather
// Origin, token and subprotocols without building an http.Request. Nothing the
// Upgrader writes before the last callback has agreed is of the answer.
//
// Stricter than net/http, on every path: lines end in CRLF, no folded lines, no
// empty line before the request, no control characters, only origin-form
// targets of visible ASCII without "#", Content-Length never beside
// Transfer-Encoding, and one field each of Host, Connection, Upgrade, Origin,
// Authorization, Content-Length, Transfer-Encoding, Expect, Sec-WebSocket-Key
// and Sec-WebSocket-Version. Expect is 100-continue or absent.
//
// A failed login is not this package's business: the token is handed out
// unverified. It is in no error, metric or answer.
package handshake
