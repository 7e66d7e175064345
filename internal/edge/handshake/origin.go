package handshake

import "strings"

// nullOrigin is what browsers send for documents without an origin of their
// own: sandboxed frames, local files.
const nullOrigin = "null"

// originPolicy decides which web pages may connect. A request without Origin
// comes from no browser; nobody can forge it on a user's behalf.
type originPolicy struct {
	any     bool
	allowed map[string]struct{} // canonical
}

// newOriginPolicy takes validated options.
func newOriginPolicy(o Options) originPolicy {
	p := originPolicy{any: o.AnyOrigin, allowed: make(map[string]struct{}, len(o.AllowOrigins))}
	for _, raw := range o.AllowOrigins {
		if origin, ok := canonicalOrigin(raw); ok {
			p.allowed[origin] = struct{}{}
		}
	}
	return p
}

// listed reports whether an allow-list decides.
func (p originPolicy) listed() bool { return !p.any && len(p.allowed) > 0 }

// admits reports whether a page of origin may connect to host.
func (p originPolicy) admits(origin, host string) bool {
	if p.any {
		return true
	}
	canonical, ok := canonicalOrigin(origin)
	if !ok {
		return false
	}
	if p.listed() {
		_, ok = p.allowed[canonical]
		return ok
	}
	scheme, authority, _ := strings.Cut(canonical, "://")
	return (scheme == "http" || scheme == "https") && authority == canonicalAuthority(scheme, host)
}

// canonicalOrigin returns scheme://host[:port] in lower case and without the
// scheme's default port.
func canonicalOrigin(raw string) (string, bool) {
	if raw == nullOrigin {
		return raw, true
	}
	scheme, authority, ok := strings.Cut(raw, "://")
	if !ok || !isScheme(scheme) || !isAuthority(authority) {
		return "", false
	}
	scheme = strings.ToLower(scheme)
	return scheme + "://" + canonicalAuthority(scheme, authority), true
}

func canonicalAuthority(scheme, authority string) string {
	authority = strings.ToLower(authority)
	switch scheme {
	case "http":
		return strings.TrimSuffix(authority, ":80")
	case "https":
		return strings.TrimSuffix(authority, ":443")
	default:
		return authority
	}
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// isAuthority reports whether s is host[:port]: a name in ASCII, an IPv4
// address, or an IPv6 address in brackets, and nothing else.
func isAuthority(s string) bool {
	end := strings.IndexByte(s, ':')
	valid := isNameByte
	if strings.HasPrefix(s, "[") {
		s = s[1:]
		end = strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		valid = isIPv6Byte
	}
	if end < 0 {
		end = len(s)
	}
	host, rest := s[:end], s[end:]
	for i := range len(host) {
		if !valid(host[i]) {
			return false
		}
	}
	rest = strings.TrimPrefix(rest, "]")
	return host != "" && (rest == "" || isPort(rest))
}

// isPort takes the colon too.
func isPort(s string) bool {
	if len(s) < 2 || len(s) > 6 || s[0] != ':' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func isNameByte(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '-' || c == '.' || c == '_'
}

func isIPv6Byte(c byte) bool {
	c = toLower(c)
	return isDigit(c) || c >= 'a' && c <= 'f' || c == ':' || c == '.'
}
