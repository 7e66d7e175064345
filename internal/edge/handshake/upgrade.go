package handshake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/gobwas/ws"
)

// The paths that are upgraded.
const (
	clientPath = "/ws"
	adminPath  = "/ws/admin"
)

// upgrade is one run of ws.Upgrader over a head that passed the strict check.
// The callbacks gather; decide decides.
type upgrade struct {
	h      *Handshaker
	remote net.Addr
	out    gate

	host, origin          string
	hasOrigin             bool
	bearer, query, cookie string
	offers                offers
	deflate               bool // permessage-deflate was agreed on
}

// run makes the 101 in u.out. The error is a *Rejection.
func (u *upgrade) run(conn net.Conn, head []byte) error {
	u.remote = conn.RemoteAddr()
	upgrader := ws.Upgrader{
		OnRequest: u.onRequest,
		OnHost:    u.onHost,
		OnHeader:  u.onHeader,
		// It never selects: the Upgrader would show it no further fields then.
		ProtocolCustom:  func(v []byte) (string, bool) { return "", u.offers.add(v) },
		Negotiate:       u.negotiate,
		OnBeforeUpgrade: u.decide,
	}
	_, err := upgrader.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(head), &u.out})
	var rej *Rejection
	switch {
	case err == nil:
		return nil
	case errors.As(err, &rej):
		return rej
	default:
		return malformed("malformed WebSocket request")
	}
}

func (u *upgrade) onRequest(uri []byte) error {
	_, query, _ := bytes.Cut(uri, []byte("?"))
	u.query = tokenFromQuery(string(query))
	return nil
}

func (u *upgrade) onHost(host []byte) error {
	u.host = string(host)
	return nil
}

// onHeader is called with the name in its canonical form.
func (u *upgrade) onHeader(name, value []byte) error {
	switch string(name) {
	case "Origin":
		u.origin, u.hasOrigin = string(value), true
	case "Authorization":
		u.bearer = bearerToken(value)
	case "Cookie":
		if u.cookie == "" && u.h.readCookie {
			u.cookie = tokenFromCookies(value, u.h.opts.CookieName)
		}
	}
	return nil
}

// decide is the last callback. After its yes, what the Upgrader writes is the
// answer.
func (u *upgrade) decide() (ws.HandshakeHeader, error) {
	if u.hasOrigin && !u.h.origins.admits(u.origin, u.host) {
		return nil, reject(http.StatusForbidden, ReasonOrigin, "pages of this Origin may not connect")
	}
	header, rej := u.offers.choose()
	if rej != nil {
		return nil, rej
	}
	if u.h.opts.Admit != nil {
		if refusal := u.h.opts.Admit(u.remote); refusal != nil {
			return nil, refusal.rejection()
		}
	}
	u.out.open = true
	return header, nil
}

// token returns the first one found, in the order of trust: what only the
// application can have set comes first.
func (u *upgrade) token() string {
	for _, t := range [...]string{u.bearer, u.offers.token, u.query, u.cookie} {
		if t != "" {
			return t
		}
	}
	return ""
}

// gate swallows what is written before it is open: the Upgrader answers a
// refusal on its own, and that answer lacks what ours says.
type gate struct {
	answer []byte
	open   bool
}

// Write implements io.Writer.
func (g *gate) Write(p []byte) (int, error) {
	if g.open {
		g.answer = append(g.answer, p...)
	}
	return len(p), nil
}
