package handshake

import (
	"bytes"
	"net/http"
)

// singleton names a header field that may come only once.
type singleton uint8

const (
	fieldOther singleton = iota // may come as often as it likes
	fieldHost
	fieldConnection
	fieldUpgrade
	fieldOrigin
	fieldAuthorization
	fieldContentLength
	fieldTransferEncoding
	fieldExpect
	fieldKey
	fieldVersion
	singletons
)

// request is a parsed head. Its slices lie in the head.
type request struct {
	method, target []byte
	minor          byte // of HTTP/1.x, as a digit
	seen           [singletons]bool
	values         [singletons][]byte // of the last field, without blanks around
}

// parse takes a head apart that the headReader let pass.
func (r *request) parse(head []byte) *Rejection {
	line, rest := cutLine(head)
	if rej := r.parseRequestLine(line); rej != nil {
		return rej
	}
	for {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			return r.checkFraming()
		}
		if rej := r.parseField(line); rej != nil {
			return rej
		}
	}
}

// cutLine returns the first line without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\r\n"))
	return line, rest
}

func (r *request) parseRequestLine(line []byte) *Rejection { //nolint:cyclop // The grammar of one line, rule by rule.
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) {
		return malformed("malformed request line")
	}
	if len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" ||
		!isDigit(version[5]) || version[6] != '.' || !isDigit(version[7]) {
		return malformed("malformed HTTP version")
	}
	if version[5] != '1' || version[7] > '1' {
		return reject(http.StatusHTTPVersionNotSupported, ReasonHTTPVersion, "only HTTP/1.1 is spoken here")
	}
	if len(target) == 0 || target[0] != '/' {
		return malformed("the request target must be a path")
	}
	for _, c := range target {
		if c <= ' ' || c > '~' || c == '#' {
			return malformed("malformed request target")
		}
	}
	r.method, r.target, r.minor = method, target, version[7]
	return nil
}

func (r *request) parseField(line []byte) *Rejection {
	if line[0] == ' ' || line[0] == '\t' {
		return malformed("folded header lines are not accepted")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return malformed("malformed header field")
	}
	f := singletonOf(name)
	if f == fieldOther {
		return nil
	}
	if r.seen[f] {
		return reject(http.StatusBadRequest, ReasonDuplicate, "a header field that may come only once came twice")
	}
	r.seen[f] = true
	r.values[f] = trimBlanks(value)
	return nil
}

// checkFraming refuses what leaves open whom a request is for or where it
// ends, and what net/http would refuse only after it has waited for the body.
func (r *request) checkFraming() *Rejection {
	switch {
	case r.minor == '1' && !r.seen[fieldHost]:
		return reject(http.StatusBadRequest, ReasonHost, "Host is missing")
	case r.seen[fieldContentLength] && r.seen[fieldTransferEncoding]:
		return reject(http.StatusBadRequest, ReasonBody, "Content-Length and Transfer-Encoding exclude each other")
	case r.seen[fieldExpect] && !equalFold(r.values[fieldExpect], "100-continue"):
		return reject(http.StatusExpectationFailed, ReasonExpect, "Expect must be 100-continue")
	default:
		return nil
	}
}

// path returns the target without its query.
func (r *request) path() []byte {
	path, _, _ := bytes.Cut(r.target, []byte("?"))
	return path
}

// singletonOf finds a field by its name, in any case.
func singletonOf(name []byte) singleton {
	var lower [len("sec-websocket-version")]byte
	if len(name) > len(lower) {
		return fieldOther
	}
	for i, c := range name {
		lower[i] = toLower(c)
	}
	switch string(lower[:len(name)]) {
	case "host":
		return fieldHost
	case "connection":
		return fieldConnection
	case "upgrade":
		return fieldUpgrade
	case "origin":
		return fieldOrigin
	case "authorization":
		return fieldAuthorization
	case "content-length":
		return fieldContentLength
	case "transfer-encoding":
		return fieldTransferEncoding
	case "expect":
		return fieldExpect
	case "sec-websocket-key":
		return fieldKey
	case "sec-websocket-version":
		return fieldVersion
	default:
		return fieldOther
	}
}
