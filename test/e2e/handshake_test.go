package e2e_test

import (
	"strings"
	"testing"
)

func TestBadHandshakes(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--handshake-timeout", "1m", "--max-connections", "1000")
	hasty := startNode(ctx, t, "hasty", "--handshake-timeout", "1s")
	token := bearer + sign(t, claims{"tenantId": "acme"})
	good := upgradeRequest("/ws", token)
	without := func(line string) string { return strings.Replace(good, line+"\r\n", "", 1) }
	instead := func(line, other string) string { return strings.Replace(good, line, other, 1) }
	plain := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	}
	for name, c := range map[string]struct{ request, want string }{
		"good":                  {good + goodbye, "101 Switching Protocols"},
		"not an upgrade":        {without("Upgrade: websocket"), "426 Upgrade Required"},
		"other upgrade":         {instead("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required"},
		"old version":           {instead("Version: 13", "Version: 8"), "426 Upgrade Required"},
		"no version":            {without("Sec-WebSocket-Version: 13"), "426 Upgrade Required"},
		"no connection":         {without("Connection: Upgrade"), "400 Bad Request"},
		"no key":                {without("Sec-WebSocket-Key: " + sampleKey), "400 Bad Request"},
		"short key":             {instead(sampleKey, "AAAA"), "400 Bad Request"},
		"two keys":              {upgradeRequest("/ws", token, "Sec-WebSocket-Key: "+sampleKey), "400 Bad Request"},
		"no host":               {without("Host: 127.0.0.1"), "400 Bad Request"},
		"two hosts":             {upgradeRequest("/ws", token, "Host: evil.example"), "400 Bad Request"},
		"host with a path":      {instead("Host: 127.0.0.1", "Host: 127.0.0.1/x"), "400 Bad Request"},
		"two authorizations":    {upgradeRequest("/ws", token, token), "400 Bad Request"},
		"POST":                  {instead("GET ", "POST "), "405 Method Not Allowed"},
		"body":                  {upgradeRequest("/ws", token, "Content-Length: 1"), "400 Bad Request"},
		"chunked":               {upgradeRequest("/ws", token, "Transfer-Encoding: chunked"), "400 Bad Request"},
		"length and chunked":    {upgradeRequest("/ws", token, "Content-Length: 0", "Transfer-Encoding: chunked"), "400 Bad Request"},
		"HTTP/1.0":              {instead("HTTP/1.1", "HTTP/1.0"), "505 HTTP Version Not Supported"},
		"HTTP/2.0":              {instead("HTTP/1.1", "HTTP/2.0"), "505 HTTP Version Not Supported"},
		"no HTTP":               {"hello\r\n\r\n", "400 Bad Request"},
		"TLS":                   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400 Bad Request"},
		"LF only":               {strings.ReplaceAll(good, "\r\n", "\n"), "400 Bad Request"},
		"folded line":           {upgradeRequest("/ws", token, "X-Fold: a\r\n b"), "400 Bad Request"},
		"space before colon":    {upgradeRequest("/ws", token, "Origin : http://127.0.0.1"), "400 Bad Request"},
		"NUL in a value":        {upgradeRequest("/ws", token, "X-Nul: a\x00b"), "400 Bad Request"},
		"absolute target":       {upgradeRequest("http://127.0.0.1/ws", token), "400 Bad Request"},
		"long head":             {upgradeRequest("/ws", token, "X-Long: "+strings.Repeat("x", 9<<10)), "431 Request Header Fields Too Large"},
		"long query":            {upgradeRequest("/ws?token=" + strings.Repeat("x", 9<<10)), "431 Request Header Fields Too Large"},
		"65 headers":            {upgradeRequest("/ws", strings.Split(strings.Repeat("X: y\n", 65), "\n")[:65]...), "431 Request Header Fields Too Large"},
		"head that never ends":  {strings.TrimSuffix(good, "\r\n"), "408 Request Timeout"},
		"origin of another":     {upgradeRequest("/ws", token, "Origin: https://evil.example"), "403 Forbidden"},
		"origin by prefix":      {upgradeRequest("/ws", token, "Origin: http://127.0.0.1.evil.example"), "403 Forbidden"},
		"origin null":           {upgradeRequest("/ws", token, "Origin: null"), "403 Forbidden"},
		"own origin":            {upgradeRequest("/ws", token, "Origin: http://127.0.0.1") + goodbye, "101 Switching Protocols"},
		"unknown path":          {plain("/wss"), "404 Not Found"},
		"path below":            {plain("/ws/other"), "404 Not Found"},
		"demo without --dev":    {plain("/demo/"), "404 Not Found"},
		"unknown subprotocol":   {upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: graphql-ws"), "400 Bad Request"},
		"unknown subprotocols":  {upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: mqtt, pushd.v9.json, Pushd.Plain"), "400 Bad Request"},
		"broken subprotocol":    {upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: pushd plain"), "400 Bad Request"},
		"a known among unknown": {upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: mqtt, pushd.plain") + goodbye, "101 Switching Protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := n.HTTP
			if strings.HasPrefix(c.want, "408 ") {
				at = hasty.HTTP
			}
			got := exchange(ctx, t, at, c.request)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.want+"\r\n") {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
}

// A client that offers only what is not known must learn what is.
func TestUnknownSubprotocolNamesTheKnown(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	token := bearer + sign(t, claims{"tenantId": "acme"})
	refusal := exchange(ctx, t, n.HTTP, upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: mqtt"))
	if !strings.HasPrefix(refusal, "HTTP/1.1 400 ") || !strings.Contains(refusal, "pushd.plain") {
		t.Errorf("got %q", refusal)
	}
	for offer, selected := range map[string]string{
		"mqtt, pushd.plain": "Sec-WebSocket-Protocol: pushd.plain\r\n",
		"pushd.plain":       "Sec-WebSocket-Protocol: pushd.plain\r\n",
	} {
		got := exchange(ctx, t, n.HTTP, upgradeRequest("/ws", token, "Sec-WebSocket-Protocol: "+offer)+goodbye)
		if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.Contains(got, selected) {
			t.Errorf("%s: %q", offer, got)
		}
	}
	if got := exchange(ctx, t, n.HTTP, upgradeRequest("/ws", token)+goodbye); strings.Contains(got, "Sec-WebSocket-Protocol") {
		t.Errorf("nothing was offered: %q", got)
	}
}

func TestFullNodeSendsClientsElsewhere(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--max-connections", "2")
	connect(ctx, t, n, "acme", "ann")
	connect(ctx, t, n, "acme", "bob")
	got := exchange(ctx, t, n.HTTP, upgradeRequest("/ws", bearer+sign(t, claims{"tenantId": "acme"})))
	if !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "\r\nRetry-After: ") {
		t.Errorf("got %q", got)
	}
}

func TestRefusalsAfterTheUpgrade(t *testing.T) {
	ctx := bounded(t)
	n := startNode(ctx, t, "solo", "--max-connections-per-user", "2")
	connect(ctx, t, n, "acme", "ann")
	connect(ctx, t, n, "acme", "ann")
	connect(ctx, t, n, "globex", "ann") // somebody else
	member := claims{"tenantId": "acme", "userId": "bob", "roles": []string{"Admin", "administrator"}}
	admin := claims{"tenantId": "acme", "userId": "bob", "role": "admin"}
	for name, c := range map[string]struct {
		path   string
		claims claims
		want   string
	}{
		"third connection of a user": {"/ws", claims{"tenantId": "acme", "userId": "ann"}, closeFrame(4303, "connection_limit")},
		"admin path without role":    {"/ws/admin", member, closeFrame(4301, "forbidden")},
		"admin path with role":       {"/ws/admin", admin, closeFrame(1000, "")},
	} {
		t.Run(name, func(t *testing.T) {
			got := exchange(ctx, t, n.HTTP, upgradeRequest(c.path, bearer+sign(t, c.claims))+goodbye)
			if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, c.want) {
				t.Errorf("got %q, want it to end in %q", got, c.want)
			}
		})
	}
}

// closeFrame returns the close frame of a server.
func closeFrame(code int, reason string) string {
	return string([]byte{0x88, byte(len(reason) + 2), byte(code >> 8), byte(code)}) + reason
}
