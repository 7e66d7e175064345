package edge_test

import (
	"bytes"
	"compress/flate"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge"
)

// deflating is a client that has negotiated permessage-deflate.
type deflating struct {
	t    *testing.T
	conn io.ReadWriter
}

func (e *env) dialDeflate(t *testing.T, w who) (c deflating, negotiated bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d := ws.Dialer{
		Header:     ws.HandshakeHeaderHTTP(http.Header{"Authorization": {"Bearer " + token(t, w)}}),
		Extensions: []httphead.Option{httphead.NewOption("permessage-deflate", nil)},
	}
	conn, buffered, hs, err := d.Dial(ctx, e.url("/ws"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var r io.Reader = conn
	if buffered != nil {
		r = io.MultiReader(buffered, conn)
	}
	return deflating{t, struct {
		io.Reader
		io.Writer
	}{r, conn}}, len(hs.Extensions) > 0
}

// next returns the next text and whether it came compressed.
func (c deflating) next() (text string, compressed bool) {
	c.t.Helper()
	h, err := ws.ReadHeader(c.conn)
	if err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.t.Fatal(err)
	}
	if h.OpCode != ws.OpText || !h.Fin {
		c.t.Fatalf("header %+v, body %q", h, body)
	}
	if !h.Rsv1() {
		return string(body), false
	}
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	plain, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body), tail)))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(plain), true
}

// send sends a compressed text.
func (c deflating) send(text string) {
	c.t.Helper()
	c.write(c.frame(text))
}

// write sends a frame that frame made.
func (c deflating) write(wire []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(wire); err != nil {
		c.t.Fatal(err)
	}
}

// frame returns a compressed text as it goes over the wire.
func (c deflating) frame(text string) []byte {
	c.t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestSpeed)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	f := ws.NewTextFrame(bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff}))
	f.Header.Rsv = ws.Rsv(true, false, false)
	wire, err := ws.CompileFrame(ws.MaskFrameInPlace(f))
	if err != nil {
		c.t.Fatal(err)
	}
	return wire
}

func TestCompression(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		plain := e.dial(t, who{user: "plain"})
		c, negotiated := e.dialDeflate(t, who{user: "ann"})
		if !negotiated {
			t.Fatal("not negotiated")
		}
		if text, compressed := c.next(); compressed || !strings.Contains(text, `"connection"`) {
			t.Errorf("got %q, compressed %v", text, compressed)
		}
		big := `{"type":"news","data":"` + strings.Repeat("all the same ", 200) + `"}`
		const small = `{"type":"news","data":"small"}`
		for _, want := range []string{big, small, big} {
			e.deliver(tenantTarget("acme"), want)
			text, compressed := c.next()
			if text != want || compressed != (want == big) {
				t.Errorf("got %.40q, compressed %v", text, compressed)
			}
			plain.expectText(want)
		}
		c.send(`{"type":"ping","id":"` + strings.Repeat("x", 60) + `"}`)
		if text, _ := c.next(); !strings.HasPrefix(text, `{"type":"pong","id":"xxx`) {
			t.Errorf("got %q", text)
		}
	})
}

func TestCompressionOff(t *testing.T) {
	e := newEnv(t, func(o *edge.Options) { o.CompressionThreshold = 0 })
	if _, negotiated := e.dialDeflate(t, who{user: "ann"}); negotiated {
		t.Error("negotiated")
	}
}
