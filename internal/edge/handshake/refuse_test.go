package handshake_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// secret is in every token of these tests.
const secret = "S3CRET"

// refusal is a head and why it is refused.
type refusal struct {
	name   string
	reason handshake.Reason
	head   string
	opts   func(*handshake.Options)
	// timeout: the rest of the head never comes.
	timeout bool
}

func (r refusal) handshaker(t testing.TB) *handshake.Handshaker {
	t.Helper()
	o := handshake.DefaultOptions()
	o.AllowOrigins = []string{"https://example.com"}
	if r.opts != nil {
		r.opts(&o)
	}
	if r.timeout {
		o.Timeout = 1
	}
	return newHandshaker(t, o)
}

// tokenHead is upgraded. It carries a token in each of the four places.
func tokenHead() head {
	return upgradeHead().request("GET /ws?token="+secret+"-query HTTP/1.1").set(
		"Origin: https://example.com",
		"Sec-WebSocket-Protocol: pushd.plain, pushd.jwt."+secret+"-jwt",
		"Authorization: Bearer "+secret+"-bearer",
		"Cookie: token="+secret+"-cookie",
	)
}

// refusals is the table of all that is refused.
func refusals() []refusal {
	return slices.Concat(malformedHeads(), malformedLines(), badRequests(), badUpgrades(), duplicates(), bounds(), byOptions())
}

func malformedHeads() []refusal {
	good := tokenHead()
	text := good.String()
	m := func(name, head string) refusal {
		return refusal{name: "malformed/" + name, reason: handshake.ReasonMalformed, head: head}
	}
	return []refusal{
		m("bare LF throughout", strings.ReplaceAll(text, "\r\n", "\n")),
		m("bare LF after the request line", strings.Replace(text, "\r\n", "\n", 1)),
		m("bare LF at the end", strings.TrimSuffix(text, "\r\n")+"\n"),
		m("two bare LF at the end", strings.TrimSuffix(text, "\r\n\r\n")+"\n\n"),
		m("LF CR", strings.ReplaceAll(text, "\r\n", "\n\r")),
		m("two CR, LF", strings.Replace(text, "\r\n", "\r\r\n", 1)),
		m("CR in a value", good.add("X: a\rb").String()),
		m("two CR at the end", strings.TrimSuffix(text, "\r\n")+"\r\r"),
		m("NUL in a value", good.add("X: a\x00b").String()),
		m("NUL in a name", good.add("X\x00Y: a").String()),
		m("NUL in the target", good.request("GET /ws\x00 HTTP/1.1").String()),
		m("DEL in a value", good.add("X: \x7f").String()),
		m("escape sequence", good.add("X: \x1b[31m").String()),
		m("folded by a blank", good.add("X: a", " b").String()),
		m("folded by a tab", good.add("X: a", "\tb").String()),
		m("fold with nothing to fold", head{good.line, append([]string{" a: b"}, good.fields...)}.String()),
		m("line of blanks", good.add("  ").String()),
		m("empty line first", "\r\n"+text),
		m("two empty lines first", "\r\n\r\n"+text),
		m("LF first", "\n"+text),
		m("blank before the colon", good.add("X : a").String()),
		m("tab before the colon", good.add("X\t: a").String()),
		m("blank in a name", good.add("X Y: a").String()),
		m("no colon", good.add("nonsense").String()),
		m("no name", good.add(": a").String()),
		m("name beyond ASCII", good.add("Xé: a").String()),
		m("separator in a name", good.add("X(Y): a").String()),
		m("parts of a subprotocol", good.set("Sec-WebSocket-Protocol: pushd plain").String()),
		m("parameter of a subprotocol", good.set("Sec-WebSocket-Protocol: pushd.plain;q=1").String()),
		m("quoted subprotocol", good.set(`Sec-WebSocket-Protocol: "pushd.plain"`).String()),
		m("subprotocol beyond ASCII", good.set("Sec-WebSocket-Protocol: pushd.plain, é").String()),
		m("one bad field of subprotocols", good.add("Sec-WebSocket-Protocol: a/b").String()),
		m("unclosed comment in Connection", good.set("Connection: (x, upgrade").String()),
		m("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("r", 32)),
		m("SSH", "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
		m("a WebSocket frame", "\x81\x85\x01\x02\x03\x04abcde"),
		m("PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"+text),
		m("nothing but an empty line", "\r\n\r\n"),
	}
}

func malformedLines() []refusal {
	var all []refusal
	for _, line := range []string{
		"GET /ws", "GET", "GET ", "GET  /ws HTTP/1.1", "GET /ws  HTTP/1.1", "GET /ws HTTP/1.1 ", " GET /ws HTTP/1.1",
		"GET\t/ws\tHTTP/1.1", "GET /ws /ws HTTP/1.1", "GET  HTTP/1.1", " /ws HTTP/1.1", "G(T /ws HTTP/1.1", "GÉT /ws HTTP/1.1",
		"GET /ws http/1.1", "GET /ws HTTP/1", "GET /ws HTTP/1.", "GET /ws HTTP/.1", "GET /ws HTTP/1.10", "GET /ws HTTP/11.1", "GET /ws HTTP/1,1",
		"GET /ws HTTP/x.1", "GET /ws HTTP/1.x", "GET /ws HTTPS/1.1", "GET /ws ICY/1.1",
		"GET http://example.com/ws HTTP/1.1", "GET //example.com/ws#a HTTP/1.1", "CONNECT example.com:80 HTTP/1.1", "OPTIONS * HTTP/1.1",
		"GET ws HTTP/1.1", "GET ?token=a HTTP/1.1", "GET /ws# HTTP/1.1", "GET /ws?a#b HTTP/1.1", "GET /wé HTTP/1.1", "GET /ws?\xff HTTP/1.1",
	} {
		all = append(all, refusal{name: "request line/" + line, reason: handshake.ReasonMalformed, head: tokenHead().request(line).String()})
	}
	for _, version := range []string{"1.0", "0.9", "1.2", "1.9", "2.0", "3.0", "9.9"} {
		all = append(all, refusal{
			name: "version/" + version, reason: handshake.ReasonHTTPVersion,
			head: tokenHead().request("GET /ws HTTP/" + version).String(),
		})
	}
	return append(all,
		refusal{name: "version/h2 preface", reason: handshake.ReasonHTTPVersion, head: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		refusal{
			name: "version/another path", reason: handshake.ReasonHTTPVersion,
			head: tokenHead().request("GET /healthz HTTP/2.0").String(),
		},
		refusal{
			name: "version/another path, 1.2", reason: handshake.ReasonHTTPVersion,
			head: tokenHead().request("GET /healthz HTTP/1.2").String(),
		},
		refusal{
			name: "version/1.0 without Host", reason: handshake.ReasonHTTPVersion,
			head: tokenHead().request("GET /ws HTTP/1.0").drop("Host").String(),
		},
	)
}

// badRequests are about what any HTTP server should refuse.
func badRequests() []refusal {
	var all []refusal
	good := tokenHead()
	for _, host := range []string{
		"", "a b", "a/b", "/", "user@a", "http://a", "a,b", "é.example", "[::1", "::1", "[]", "[::1]x", "[::1]]", "[::g]", "a]", "[a", "a:", "a:x",
		"a:123456", "a:-1", "a:1:2", ":80", "a?b", "a#b", "a%20b", "a\tb", "*",
	} {
		all = append(all, refusal{name: "host/" + host, reason: handshake.ReasonHost, head: good.set("Host: " + host).String()})
	}
	all = append(all,
		refusal{name: "host/none", reason: handshake.ReasonHost, head: good.drop("Host").String()},
		refusal{name: "host/none elsewhere", reason: handshake.ReasonHost, head: "GET / HTTP/1.1\r\n\r\n"},
		refusal{
			name: "body/both lengths elsewhere", reason: handshake.ReasonBody,
			head: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
	)
	for name, fields := range map[string][]string{
		"length":             {"Content-Length: 5"},
		"length that adds":   {"Content-Length: 0, 0"},
		"length with a sign": {"Content-Length: +0"},
		"no length":          {"Content-Length:"},
		"long zero":          {"Content-Length: 00"},
		"chunked":            {"Transfer-Encoding: chunked"},
		"identity":           {"Transfer-Encoding: identity"},
		"no encoding":        {"Transfer-Encoding:"},
		"both":               {"Content-Length: 0", "Transfer-Encoding: chunked"},
		"both, other case":   {"CONTENT-LENGTH: 0", "transfer-encoding: chunked"},
	} {
		all = append(all, refusal{name: "body/" + name, reason: handshake.ReasonBody, head: good.add(fields...).String()})
	}
	for _, value := range []string{"", "x", "100-continue, x", "200-ok"} {
		all = append(all,
			refusal{name: "expect/" + value, reason: handshake.ReasonExpect, head: good.add("Expect: " + value).String()},
			refusal{
				name: "expect elsewhere/" + value, reason: handshake.ReasonExpect,
				head: "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: " + value + "\r\n\r\n",
			},
		)
	}
	for _, method := range []string{"POST", "PUT", "HEAD", "OPTIONS", "DELETE", "get", "GETT", "G"} {
		all = append(all, refusal{
			name: "method/" + method, reason: handshake.ReasonMethod, head: good.request(method + " /ws HTTP/1.1").String(),
		})
	}
	return append(all, refusal{
		name: "method/with a body", reason: handshake.ReasonMethod,
		head: good.request("POST /ws HTTP/1.1").add("Content-Length: 3").String() + "a=b",
	})
}

// badUpgrades are about RFC 6455 section 4.2.1.
func badUpgrades() []refusal {
	var all []refusal
	good := tokenHead()
	field := func(reason handshake.Reason, name string, values ...string) {
		for _, v := range values {
			all = append(all, refusal{name: string(reason) + "/" + v, reason: reason, head: good.set(name + ": " + v).String()})
		}
		if reason != handshake.ReasonSubprotocol && reason != handshake.ReasonOrigin {
			all = append(all, refusal{name: string(reason) + "/none", reason: reason, head: good.drop(name).String()})
		}
	}
	field(handshake.ReasonUpgrade, "Upgrade",
		"", "h2c", "websockets", "websocked", "web", "websocket/13", "h2c, websocket", "websocket, h2c", "web\u017focket", "\"websocket\"")
	field(handshake.ReasonConnection, "Connection",
		"", "keep-alive", "close", "upgraded", "upgrad_", "upgrade-insecure", "x upgrade", "keep-alive; upgrade", "\"upgrade\"", ",,")
	field(handshake.ReasonVersion, "Sec-WebSocket-Version", "", "8", "0", "12", "14", "013", "13, 8", "8, 13", "1 3", "+13", "256")
	field(handshake.ReasonKey, "Sec-WebSocket-Key", "", "AAAA",
		"AAAAAAAAAAAAAAAAAAAA",         // 15 bytes
		"AAAAAAAAAAAAAAAAAAAAAAA=",     // 17 bytes
		"AAAAAAAAAAAAAAAAAAAAAAAA",     // 18 bytes
		"AAAAAAAAAAAAAAAAAAAAAA",       // no padding
		"AAAAAAAAAAAAAAAAAAAAA===",     // too much
		"????????????????????????",     // 24 of nothing
		"-_AAAAAAAAAAAAAAAAAAAA==",     // the other alphabet
		"AAAAAAAA AAAAAAAAAAAAA==",     // a blank inside
		"A=AAAAAAAAAAAAAAAAAAAA==",     // padding inside
		"AAAAAAAAAAAAAAAAAAAAAA==AAAA", // more behind
	)
	field(handshake.ReasonSubprotocol, "Sec-WebSocket-Protocol",
		"pushd.jwt."+secret, "pushd.jwt.", "chat", "chat, superchat", "pushd.v1", "pushd.v2.json", "PUSHD.PLAIN", "pushd.plainx", "pushd",
		"pushd.jwt."+secret+", pushd.v2.json")
	field(handshake.ReasonOrigin, "Origin", "https://evil.example", "null", "", "https://example.com."+secret)
	return append(all,
		refusal{
			name: "subprotocol/several fields", reason: handshake.ReasonSubprotocol,
			head: good.set("Sec-WebSocket-Protocol: chat").add("Sec-WebSocket-Protocol: pushd.jwt." + secret).String(),
		},
		refusal{name: "no_upgrade/a browser", reason: handshake.ReasonUpgrade, head: "GET /ws HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		refusal{
			name: "no_upgrade/h2c", reason: handshake.ReasonUpgrade,
			head: "GET /ws/admin HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
		},
	)
}

// singletons are the fields that may come only once.
func singletons() []string {
	return []string{
		"Host: example.com", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + sampleKey,
		"Origin: https://example.com", "Authorization: Bearer " + secret, "Content-Length: 0", "Transfer-Encoding: chunked",
		"Expect: 100-continue",
	}
}

func duplicates() []refusal {
	var all []refusal
	for _, f := range singletons() {
		name, _, _ := strings.Cut(f, ":")
		for kind, second := range map[string]string{
			"the same":   f,
			"other case": strings.ToUpper(name) + ": other",
			"empty":      strings.ToLower(name) + ":",
		} {
			all = append(all, refusal{
				name: "duplicate/" + name + "/" + kind, reason: handshake.ReasonDuplicate, head: tokenHead().set(f).add(second).String(),
			}, refusal{
				name: "duplicate elsewhere/" + name + "/" + kind, reason: handshake.ReasonDuplicate,
				head: head{"GET /healthz HTTP/1.1", []string{f, "X: between", second}}.String(),
			})
		}
	}
	return all
}

func bounds() []refusal {
	many := tokenHead()
	for len(many.fields) < 65 {
		many = many.add("X: y")
	}
	return []refusal{
		{name: "large/by a byte", reason: handshake.ReasonTooLarge, head: tokenHead().pad(8<<10 + 1).String()},
		{name: "large/value", reason: handshake.ReasonTooLarge, head: tokenHead().add("Cookie: " + strings.Repeat("c=d; ", 4000)).String()},
		{name: "large/name", reason: handshake.ReasonTooLarge, head: tokenHead().line + "\r\n" + strings.Repeat("N", 9000)},
		{name: "large/target", reason: handshake.ReasonTooLarge, head: "GET /" + strings.Repeat("a", 9000)},
		{name: "large/elsewhere", reason: handshake.ReasonTooLarge, head: head{line: "GET / HTTP/1.1"}.pad(8<<10 + 1).String()},
		{name: "large/long line cut", reason: handshake.ReasonTooLarge, head: strings.Repeat("a", 20<<10)},
		{name: "many/65", reason: handshake.ReasonTooMany, head: many.String()},
		{name: "many/before the end", reason: handshake.ReasonTooMany, head: strings.TrimSuffix(many.String(), "\r\n")},
		{name: "many/short ones", reason: handshake.ReasonTooMany, head: "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 65)},
	}
}

func byOptions() []refusal {
	admit := func(r handshake.Refusal) func(*handshake.Options) {
		return func(o *handshake.Options) { o.Admit = func(net.Addr) *handshake.Refusal { return &r } }
	}
	text := tokenHead().String()
	return []refusal{
		{
			name: "admit/503", reason: handshake.ReasonUnavailable, head: text,
			opts: admit(handshake.Refusal{Status: http.StatusServiceUnavailable, RetryAfter: 7 * time.Second, Reason: "draining"}),
		},
		{
			name: "admit/429", reason: handshake.ReasonRateLimited, head: text,
			opts: admit(handshake.Refusal{Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second, Reason: "too many"}),
		},
		{name: "timeout/nothing came", reason: handshake.ReasonTimeout, timeout: true},
		{name: "timeout/half", reason: handshake.ReasonTimeout, head: text[:len(text)/2], timeout: true},
		{name: "timeout/all but the last byte", reason: handshake.ReasonTimeout, head: text[:len(text)-1], timeout: true},
	}
}

// statuses is the list of docs/protocol.md and RFC 9110.
func statuses() map[handshake.Reason]int {
	return map[handshake.Reason]int{
		handshake.ReasonMalformed: 400, handshake.ReasonDuplicate: 400, handshake.ReasonHost: 400, handshake.ReasonBody: 400,
		handshake.ReasonConnection: 400, handshake.ReasonKey: 400, handshake.ReasonSubprotocol: 400,
		handshake.ReasonOrigin: 403, handshake.ReasonMethod: 405, handshake.ReasonTimeout: 408, handshake.ReasonExpect: 417,
		handshake.ReasonUpgrade: 426, handshake.ReasonVersion: 426, handshake.ReasonRateLimited: 429,
		handshake.ReasonTooLarge: 431, handshake.ReasonTooMany: 431, handshake.ReasonUnavailable: 503, handshake.ReasonHTTPVersion: 505,
	}
}

// checkAnswer holds an answer against what every refusal must say.
func checkAnswer(t *testing.T, answer string, reason handshake.Reason, method string) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(answer))
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("answer %q: %v", answer, err)
	}
	defer resp.Body.Close()
	status := statuses()[reason]
	if resp.StatusCode != status || resp.Proto != "HTTP/1.1" || !resp.Close {
		t.Errorf("answer %s %s, close %v", resp.Proto, resp.Status, resp.Close)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("body: %v", err)
	}
	rest, _ := io.ReadAll(r)
	if len(rest) > 0 || (len(body) == 0) != (method == http.MethodHead) || resp.ContentLength < 2 {
		t.Errorf("body %q of %d bytes, then %q", body, resp.ContentLength, rest)
	}
	want := map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Allow": "", "Retry-After": "", "Upgrade": "", "Sec-Websocket-Version": "",
	}
	switch status {
	case http.StatusUpgradeRequired:
		want["Upgrade"], want["Sec-Websocket-Version"] = "websocket", "13"
	case http.StatusMethodNotAllowed:
		want["Allow"] = http.MethodGet
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		want["Retry-After"] = "7"
	}
	// net/http keeps Connection to itself.
	if strings.Contains(answer, "\r\nConnection: close, Upgrade\r\n") != (status == http.StatusUpgradeRequired) {
		t.Errorf("Connection in %q", answer)
	}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// checkSilent fails the test when a token shows in what others may see.
func checkSilent(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, secret) {
			t.Errorf("a token is told: %q", text)
		}
	}
}

func method(head string) string {
	m, _, _ := strings.Cut(head, " ")
	return m
}

// TestRefusals runs the table over three kinds of sockets and walks the
// reasons: each must be produced.
func TestRefusals(t *testing.T) {
	produced := make(map[handshake.Reason]bool)
	for _, c := range refusals() {
		t.Run(c.name, func(t *testing.T) {
			h := c.handshaker(t)
			s := newScript(c.head)
			if c.timeout {
				s.end = os.ErrDeadlineExceeded
			}
			v := judge(t, h, s)
			if v.end != refused || v.reason != c.reason || v.status != statuses()[c.reason] {
				t.Fatalf("%s: %d %s, want %s", v.end, v.status, v.reason, c.reason)
			}
			produced[v.reason] = true
			checkAnswer(t, v.answer, c.reason, method(c.head))
			checkSilent(t, v.answer)
			t.Run("loopback", func(t *testing.T) { c.run(t, loopbackPair, v.answer) })
			t.Run("pipe", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.run(t, pipePair, v.answer) })
			})
		})
	}
	for _, r := range handshake.Reasons() {
		if !produced[r] {
			t.Errorf("no head is refused as %s", r)
		}
		delete(produced, r)
	}
	if len(produced) > 0 || len(statuses()) != len(handshake.Reasons()) {
		t.Errorf("reasons that are not listed: %v", produced)
	}
}

// run expects the same answer over a real connection.
func (r refusal) run(t *testing.T, connect pair, answer string) {
	t.Helper()
	client, server := connect(t)
	p := send(client, method(r.head), r.head)
	_, err := r.handshaker(t).Do(server, time.Now())
	server.Close()
	if got := p.answer(); got != answer || p.err != nil {
		t.Errorf("answer %q, %v, want %q", got, p.err, answer)
	}
	var rej *handshake.Rejection
	if !errors.As(err, &rej) || rej.Reason != r.reason {
		t.Fatalf("error %v", err)
	}
	if want := fmt.Sprintf("handshake refused with %d: %s", rej.Status, rej.Reason); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	checkSilent(t, fmt.Sprintf("%v %+v %#v %#v", err, err, err, *rej))
}

// TestRefusalIsGolden holds two answers to the byte.
func TestRefusalIsGolden(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for head, want := range map[string]string{
		"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n": "HTTP/1.1 426 Upgrade Required\r\n" +
			"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n" +
			"Content-Length: 63\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n" +
			"this path speaks WebSocket only: Upgrade: websocket is missing\n",
		"HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n": "HTTP/1.1 405 Method Not Allowed\r\n" +
			"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n" +
			"Content-Length: 20\r\nAllow: GET\r\nConnection: close\r\n\r\n",
	} {
		if v := judge(t, h, newScript(head)); v.answer != want {
			t.Errorf("answer\n%q, want\n%q", v.answer, want)
		}
	}
}

// TestSubprotocolRefusalHelps: the contract wants the known ones named.
func TestSubprotocolRefusalHelps(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	v := expectRefusal(t, h, upgradeHead().set("Sec-WebSocket-Protocol: chat").String(), handshake.ReasonSubprotocol)
	if !strings.Contains(v.answer, "pushd.plain") || strings.Contains(v.answer, "chat") {
		t.Errorf("answer %q", v.answer)
	}
}

// TestControlCharacters tries each of them at each kind of place.
func TestControlCharacters(t *testing.T) {
	h := newHandshaker(t, handshake.DefaultOptions())
	for c := range 256 {
		b := string([]byte{byte(c)})
		control := c < ' ' || c == 0x7f
		for place, head := range map[string]string{
			"method": "G" + b + "T / HTTP/1.1\r\nHost: a\r\n\r\n",
			"target": "GET /" + b + " HTTP/1.1\r\nHost: a\r\n\r\n",
			"name":   "GET / HTTP/1.1\r\nHost: a\r\nX" + b + "Y: z\r\n\r\n",
			"value":  "GET / HTTP/1.1\r\nHost: a\r\nX: y" + b + "z\r\n\r\n",
		} {
			want := passed
			switch {
			case control && (place != "value" || c != '\t'):
				want = refused
			case c == '\t' || place == "value":
			case c >= 0x80:
				want = refused
			case place == "target" && (c == ' ' || c == '#'):
				want = refused
			case place == "method" && strings.Contains(" \"(),/:;<=>?@[\\]{}", b):
				want = refused
			case place == "name" && strings.Contains(" \"(),/;<=>?@[\\]{}", b):
				want = refused
			}
			if v := judge(t, h, newScript(head)); v.end != want || v.end == refused && v.reason != handshake.ReasonMalformed {
				t.Errorf("%q in a %s: %s %s", b, place, v.end, v.reason)
			}
		}
	}
}
