package handshake

import (
	"bytes"
	"net/url"
	"strings"
)

// queryToken is the query parameter that may hold the token.
const queryToken = "token"

// bearerToken returns the token of an Authorization value, empty if it is of
// another scheme.
func bearerToken(value []byte) string {
	scheme, token, _ := bytes.Cut(value, []byte(" "))
	if !equalFold(scheme, "bearer") {
		return ""
	}
	return string(trimBlanks(token))
}

// tokenFromQuery returns what url.ParseQuery would give as the first token,
// without decoding the rest into a map.
func tokenFromQuery(query string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if strings.Contains(pair, ";") {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != queryToken {
			continue
		}
		if token, err := url.QueryUnescape(value); err == nil {
			return token
		}
	}
	return ""
}

// tokenFromCookies returns the first cookie called name in a Cookie value.
func tokenFromCookies(value []byte, name string) string {
	for cookie := range elements(value, ';') {
		key, token, ok := bytes.Cut(cookie, []byte("="))
		if !ok || string(trimBlanks(key)) != name {
			continue
		}
		token = trimBlanks(token)
		if n := len(token); n >= 2 && token[0] == '"' && token[n-1] == '"' {
			token = token[1 : n-1]
		}
		return string(token)
	}
	return ""
}
