package handshake

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Upgraded is what a successful handshake found out.
type Upgraded struct {
	// Admin: the path was /ws/admin.
	Admin bool
	// Token is the client's, unverified; empty if it brought none.
	Token string
	// Dialect is the protocol that both sides speak above WebSocket from now on.
	// There is one so far, Plain, also where the client named none.
	Dialect Dialect
	// Deflate says that permessage-deflate was agreed on, without context
	// takeover on either side.
	Deflate bool
	// Answer is the 101, for the caller to send before all else.
	Answer []byte
	// Pipelined is what the client sent right behind the head; nil: nothing.
	Pipelined []byte
}

// Handshaker does opening handshakes. Safe for concurrent use.
type Handshaker struct {
	opts       Options
	origins    originPolicy
	readCookie bool
	metrics    *metrics
	buffers    sync.Pool // of *[]byte with usualHeadBytes
}

// New makes a Handshaker. The error names every option that is out of bounds.
func New(o Options) (*Handshaker, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	o = o.withDefaults()
	h := &Handshaker{opts: o, origins: newOriginPolicy(o), metrics: newMetrics(o.Registerer)}
	h.readCookie = o.CookieName != "" && h.origins.listed()
	h.buffers.New = func() any {
		b := make([]byte, 0, usualHeadBytes)
		return &b
	}
	return h, nil
}

// Do performs the handshake on conn; the package comment lists its ends.
// Options.Timeout counts from began, when whatever precedes the head began.
func (h *Handshaker) Do(conn net.Conn, began time.Time) (*Upgraded, error) {
	up, err := h.do(conn, began.Add(h.opts.Timeout))
	var (
		rej  *Rejection
		pass *Passthrough
	)
	switch {
	case errors.As(err, &rej):
		return nil, h.refuse(conn, rej)
	case errors.As(err, &pass):
		h.metrics.passed.Inc()
	case err != nil:
		h.metrics.aborted.Inc()
	default:
		h.metrics.upgraded.Inc()
	}
	return up, err
}

// do is Do without the answer to a *Rejection and without the metrics.
func (h *Handshaker) do(conn net.Conn, deadline time.Time) (*Upgraded, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	pooled, ok := h.buffers.Get().(*[]byte)
	if !ok {
		return nil, errors.New("pool of head buffers holds something else")
	}
	// A head that outgrows the buffer is copied out of it, so this one goes
	// back in any case. Nothing that is returned lies in it.
	defer h.buffers.Put(pooled)

	reader := headReader{maxBytes: h.opts.MaxHeadBytes, maxHeaders: h.opts.MaxHeaders}
	data, end, err := reader.read(conn, *pooled)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, reject(http.StatusRequestTimeout, ReasonTimeout, "the request head did not come in time")
	case err != nil:
		return nil, err
	}
	var req request
	if rej := req.parse(data[:end]); rej != nil {
		return nil, rej
	}
	path := string(req.path())
	if path != clientPath && path != adminPath {
		return nil, passthrough(conn, data)
	}
	if rej := req.checkUpgrade(); rej != nil {
		return nil, rej
	}
	u := upgrade{h: h}
	if err := u.run(conn, data[:end]); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear deadline: %w", err)
	}
	up := &Upgraded{
		Admin: path == adminPath, Token: u.token(), Dialect: u.offers.dialect(), Deflate: u.deflate,
		Answer: u.out.answer,
	}
	if end < len(data) {
		up.Pipelined = bytes.Clone(data[end:])
	}
	return up, nil
}

// passthrough hands conn back with data in front.
func passthrough(conn net.Conn, data []byte) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadline: %w", err)
	}
	return &Passthrough{Conn: &replayConn{Conn: conn, pending: bytes.Clone(data)}}
}
