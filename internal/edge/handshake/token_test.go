package handshake_test

import (
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func TestTokens(t *testing.T) {
	const (
		bearer = "Authorization: Bearer b"
		jwt    = "Sec-WebSocket-Protocol: pushd.plain, pushd.jwt.j"
		query  = "/ws?token=q"
		cookie = "Cookie: token=c"
	)
	for _, c := range []struct {
		name, target string
		fields       []string
		want         string
	}{
		{"none", "/ws", nil, ""},

		{"all four", query, []string{cookie, jwt, bearer}, "b"},
		{"bearer and subprotocol", "/ws", []string{jwt, bearer}, "b"},
		{"bearer and query", query, []string{bearer}, "b"},
		{"bearer and cookie", "/ws", []string{cookie, bearer}, "b"},
		{"subprotocol, query and cookie", query, []string{cookie, jwt}, "j"},
		{"subprotocol and query", query, []string{jwt}, "j"},
		{"query and cookie", query, []string{cookie}, "q"},
		{"bearer", "/ws", []string{bearer}, "b"},
		{"subprotocol", "/ws", []string{jwt}, "j"},
		{"query", query, nil, "q"},
		{"cookie", "/ws", []string{cookie}, "c"},
		{"empty ones are passed over", "/ws?token=", []string{"Authorization: Bearer ", "Sec-WebSocket-Protocol: pushd.plain, pushd.jwt.", cookie}, "c"},

		{"bearer in lower case", "/ws", []string{"authorization: bearer b"}, "b"},
		{"bearer in upper case", "/ws", []string{"AUTHORIZATION: BEARER b"}, "b"},
		{"bearer and blanks", "/ws", []string{"Authorization: Bearer \t b \t"}, "b"},
		{"bearer alone", "/ws", []string{"Authorization: Bearer"}, ""},
		{"bearer and a tab", "/ws", []string{"Authorization: Bearer\tb"}, ""},
		{"longer scheme", "/ws", []string{"Authorization: Bearerx b"}, ""},
		{"scheme as long", "/ws", []string{"Authorization: Bearet b"}, ""},
		{"basic", "/ws", []string{"Authorization: Basic dTpw"}, ""},
		{"no scheme", "/ws", []string{"Authorization: b"}, ""},
		{"basic, then the query", query, []string{"Authorization: Basic dTpw"}, "q"},
		{"bearer that is odd", "/ws", []string{"Authorization: Bearer a b,c=\xff"}, "a b,c=\xff"},

		{"first item", "/ws", []string{"Sec-WebSocket-Protocol: pushd.jwt.a.b-c_d, pushd.plain"}, "a.b-c_d"},
		{"two items", "/ws", []string{"Sec-WebSocket-Protocol: pushd.jwt.1, pushd.jwt.2, pushd.plain"}, "1"},
		{"item in the second field", "/ws", []string{"Sec-WebSocket-Protocol: pushd.plain", "Sec-WebSocket-Protocol: pushd.jwt.2"}, "2"},
		{"item in the first field", "/ws", []string{"Sec-WebSocket-Protocol: pushd.jwt.1", "Sec-WebSocket-Protocol: pushd.plain,pushd.jwt.2"}, "1"},
		{"item without blanks", "/ws", []string{"Sec-WebSocket-Protocol:pushd.plain,pushd.jwt.j"}, "j"},
		{"item in upper case", "/ws", []string{"Sec-WebSocket-Protocol: pushd.plain, PUSHD.JWT.j"}, ""},

		{"query decoded", "/ws?token=a%2Bb+c%3d", nil, "a+b c="},
		{"query name decoded", "/ws?%74oken=q", nil, "q"},
		{"query not first", "/ws?a=b&token=q&c", nil, "q"},
		{"query twice", "/ws?token=1&token=2", nil, "1"},
		{"query twice, first empty", "/ws?token=&token=2", nil, ""},
		{"query twice, first broken", "/ws?token=%zz&token=2", nil, "2"},
		{"query with a semicolon", "/ws?token=1;x&token=2", nil, "2"},
		{"query value with =", "/ws?token=a=b", nil, "a=b"},
		{"query without =", "/ws?token", nil, ""},
		{"query name in upper case", "/ws?TOKEN=q", nil, ""},
		{"query name longer", "/ws?xtoken=q&tokens=q", nil, ""},
		{"query of the admin path", "/ws/admin?token=q", nil, "q"},
		{"query behind two question marks", "/ws??token=q", nil, ""},

		{"cookie quoted", "/ws", []string{`Cookie: token="c"`}, "c"},
		{"cookie half quoted", "/ws", []string{`Cookie: token="c`}, `"c`},
		{"cookie of one quote", "/ws", []string{`Cookie: token="`}, `"`},
		{"cookie of two quotes", "/ws", []string{`Cookie: token=""`}, ""},
		{"cookie not first", "/ws", []string{"Cookie: a=b; token=c; d=e"}, "c"},
		{"cookie without blanks", "/ws", []string{"Cookie: a=b;token=c;d=e"}, "c"},
		{"cookie with blanks", "/ws", []string{"Cookie: a=b ;  token = c ; d=e"}, "c"},
		{"cookie twice", "/ws", []string{"Cookie: token=1; token=2"}, "1"},
		{"cookie in the second field", "/ws", []string{"Cookie: a=b", "Cookie: token=2"}, "2"},
		{"cookie in both fields", "/ws", []string{"Cookie: token=1", "Cookie: token=2"}, "1"},
		{"cookie with = in it", "/ws", []string{"Cookie: token=a=b="}, "a=b="},
		{"cookie name in upper case", "/ws", []string{"Cookie: TOKEN=c"}, ""},
		{"cookie name longer", "/ws", []string{"Cookie: xtoken=c; tokenx=c"}, ""},
		{"cookie name alone", "/ws", []string{"Cookie: token"}, ""},
		{"cookie value that looks like it", "/ws", []string{"Cookie: a=token=c"}, ""},
		{"cookie not decoded", "/ws", []string{"Cookie: token=a%20b"}, "a%20b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHandshaker(t, handshake.Options{AllowOrigins: []string{"https://a.example"}, CookieName: "token"})
			v := expectUpgrade(t, h, upgradeHead().request("GET "+c.target+" HTTP/1.1").add(c.fields...).String())
			if v.token != c.want {
				t.Errorf("token %q, want %q", v.token, c.want)
			}
		})
	}
}

// TestCookies: a browser adds them to requests of any page, so they count only
// where an allow-list says which pages there are.
func TestCookies(t *testing.T) {
	list := []string{"https://a.example"}
	for name, c := range map[string]struct {
		opts handshake.Options
		want string
	}{
		"allow-list":           {handshake.Options{AllowOrigins: list, CookieName: "token"}, "c"},
		"other name":           {handshake.Options{AllowOrigins: list, CookieName: "sid"}, "s"},
		"other case":           {handshake.Options{AllowOrigins: list, CookieName: "SID"}, ""},
		"switched off":         {handshake.Options{AllowOrigins: list}, ""},
		"same host":            {handshake.Options{CookieName: "token"}, ""},
		"any":                  {handshake.Options{CookieName: "token", AnyOrigin: true}, ""},
		"any and a list":       {handshake.Options{CookieName: "token", AnyOrigin: true, AllowOrigins: list}, ""},
		"defaults":             {handshake.DefaultOptions(), ""},
		"null on the list":     {handshake.Options{AllowOrigins: []string{"null"}, CookieName: "token"}, "c"},
		"empty list, not nil":  {handshake.Options{AllowOrigins: []string{}, CookieName: "token"}, ""},
		"name of odd letters":  {handshake.Options{AllowOrigins: list, CookieName: "__Host-t!"}, "h"},
		"name that is nowhere": {handshake.Options{AllowOrigins: list, CookieName: "x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := expectUpgrade(t, newHandshaker(t, c.opts), upgradeHead().add("Cookie: token=c; sid=s; __Host-t!=h").String())
			if v.token != c.want {
				t.Errorf("token %q, want %q", v.token, c.want)
			}
		})
	}
}

// TestTokensStayInside: the 101 repeats nothing of the request.
func TestTokensStayInside(t *testing.T) {
	h := newHandshaker(t, handshake.Options{AllowOrigins: []string{"https://example.com"}, CookieName: "token"})
	v := expectUpgrade(t, h, tokenHead().String())
	if v.token != secret+"-bearer" || v.answer != selected101 {
		t.Errorf("token %q, answer %q", v.token, v.answer)
	}
	checkSilent(t, v.answer)
}
