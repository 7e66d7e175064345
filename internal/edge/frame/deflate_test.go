package frame_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// compressed returns text as a client sends it, by another implementation.
func compressed(t testing.TB, text []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// inflated undoes what the server did, by another implementation.
func inflated(t *testing.T, body []byte) []byte {
	t.Helper()
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// masked makes a client's frame; rsv1 says that it is compressed.
func masked(op ws.OpCode, fin, rsv1 bool, payload []byte) []byte {
	h := ws.Header{Fin: fin, OpCode: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	if rsv1 {
		h.Rsv = ws.Rsv(true, false, false)
	}
	body := bytes.Clone(payload)
	ws.Cipher(body, h.Mask, 0)
	var buf bytes.Buffer
	_ = ws.WriteHeader(&buf, h)
	buf.Write(body)
	return buf.Bytes()
}

func TestCompressedOncePerMessage(t *testing.T) {
	c := frame.NewCompressor(512)
	text := []byte(strings.Repeat(`{"order":17,"state":"shipped"}`, 100))
	f := frame.Text(text)
	first := f.For(c)
	if len(first) >= f.Len()/2 {
		t.Fatalf("%d bytes of %d", len(first), f.Len())
	}
	if &first[0] != &f.For(c)[0] {
		t.Error("compressed twice")
	}
	r := bytes.NewReader(first)
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r)
	if !h.Fin || h.OpCode != ws.OpText || !h.Rsv1() || h.Rsv2() || h.Rsv3() || h.Masked || h.Length != int64(len(body)) {
		t.Errorf("header %+v", h)
	}
	if !bytes.Equal(inflated(t, body), text) {
		t.Error("another text came out")
	}
	if !bytes.Equal(f.Bytes(), frame.Text(text).Bytes()) {
		t.Error("the plain frame changed")
	}
}

func TestNotCompressed(t *testing.T) {
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	off := frame.NewCompressor(10)
	off.SetOff(true)
	text := []byte(strings.Repeat("a", 1000))
	for name, c := range map[string]struct {
		f *frame.Frame
		c *frame.Compressor
	}{
		"no compressor":   {frame.Text(text), nil},
		"below threshold": {frame.Text(text), frame.NewCompressor(1001)},
		"noise":           {frame.Binary(noise), frame.NewCompressor(10)},
		"switched off":    {frame.Text(text), off},
		"ping":            {frame.Ping(text[:100]), frame.NewCompressor(10)},
		"close":           {frame.Close(4000, strings.Repeat("a", 100)), frame.NewCompressor(10)},
	} {
		if got := c.f.For(c.c); &got[0] != &c.f.Bytes()[0] {
			t.Errorf("%s: another frame", name)
		}
	}
}

func TestCompressorConcurrently(t *testing.T) {
	c := frame.NewCompressor(1)
	var wg sync.WaitGroup
	for i := range 8 {
		text := bytes.Repeat([]byte{byte('a' + i)}, 10_000*i+100)
		f := frame.Text(text)
		for range 4 {
			wg.Go(func() {
				got := f.For(c)
				r := bytes.NewReader(got)
				if _, err := ws.ReadHeader(r); err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(r)
				if !bytes.Equal(inflated(t, body), text) {
					t.Errorf("text %d is damaged", i)
				}
			})
		}
	}
	wg.Wait()
}

// feedAll feeds wire in pieces of step bytes and returns the payloads.
func feedAll(p *frame.Parser, wire []byte, step int) (got []string, err error) {
	wire = bytes.Clone(wire)
	for len(wire) > 0 && err == nil {
		n := min(step, len(wire))
		err = p.Feed(wire[:n], func(m frame.Message) error {
			m, err := m.Inflated()
			got = append(got, string(m.Payload))
			return err
		})
		wire = wire[n:]
	}
	return got, err
}

func TestInflates(t *testing.T) {
	long := strings.Repeat("ä message, ", 500)
	body := compressed(t, []byte(long))
	wire := masked(ws.OpText, true, true, body)
	wire = append(wire, masked(ws.OpText, true, false, []byte("plain"))...)
	wire = append(wire, masked(ws.OpBinary, false, true, body[:5])...)
	wire = append(wire, masked(ws.OpPing, true, false, []byte("ping"))...)
	wire = append(wire, masked(ws.OpContinuation, false, false, body[5:9])...)
	wire = append(wire, masked(ws.OpContinuation, true, false, body[9:])...)
	wire = append(wire, masked(ws.OpText, true, true, compressed(t, nil))...)
	want := []string{long, "plain", "ping", long, ""}
	l := frame.Limits{MaxMessage: 1 << 20, MaxFragments: 10, Inflater: frame.NewInflater()}
	for _, step := range []int{1, 2, 7, 64, 1 << 20} {
		p := frame.NewParser(&l)
		got, err := feedAll(&p, wire, step)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("step %d: %d messages, %v", step, len(got), err)
		}
	}
}

// TestInflatesSeveralStreams: a message may hold blocks after a final one.
func TestInflatesSeveralStreams(t *testing.T) {
	final := func(text string) []byte {
		var buf bytes.Buffer
		w, _ := flate.NewWriter(&buf, flate.BestSpeed)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return buf.Bytes()
	}
	open := compressed(t, []byte("end"))
	l := &frame.Limits{MaxMessage: 1000, MaxFragments: 10, Inflater: frame.NewInflater()}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"one, final":          {final("Hello"), "Hello"},
		"two, both final":     {append(final("Hello"), final("Hello")...), "HelloHello"},
		"final and then open": {append(final("Hello "), open...), "Hello end"},
		"sixteen":             {bytes.Repeat(final("a"), 16), strings.Repeat("a", 16)},
	} {
		p := frame.NewParser(l)
		if got, err := feedAll(&p, masked(ws.OpText, true, true, c.body), 1<<20); err != nil || got[0] != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	p := frame.NewParser(l)
	if _, err := feedAll(&p, masked(ws.OpText, true, true, bytes.Repeat(final(""), 17)), 1<<20); err == nil {
		t.Error("any number of streams is taken")
	}
}

func TestInflateRefusals(t *testing.T) {
	good := compressed(t, []byte("hello"))
	on := &frame.Limits{MaxMessage: 1000, MaxFragments: 10, Inflater: frame.NewInflater()}
	off := &frame.Limits{MaxMessage: 1000, MaxFragments: 10}
	rsv2 := masked(ws.OpText, true, true, good)
	rsv2[0] |= 0x20
	for name, c := range map[string]struct {
		limits *frame.Limits
		wire   []byte
		code   ws.StatusCode
	}{
		"not negotiated":   {off, masked(ws.OpText, true, true, good), 1002},
		"RSV2 too":         {on, rsv2, 1002},
		"ping":             {on, masked(ws.OpPing, true, true, nil), 1002},
		"continuation":     {on, append(masked(ws.OpText, false, true, good[:2]), masked(ws.OpContinuation, true, true, good[2:])...), 1002},
		"damaged":          {on, masked(ws.OpText, true, true, []byte("\xff\xff\xff\xff")), 1007},
		"not UTF-8":        {on, masked(ws.OpText, true, true, compressed(t, []byte("\xff"))), 1007},
		"too large inside": {on, masked(ws.OpText, true, true, compressed(t, make([]byte, 1001))), 1009},
		"too large as is":  {on, masked(ws.OpText, true, true, make([]byte, 1001)), 1009},
	} {
		for _, step := range []int{1, 1 << 20} {
			p := frame.NewParser(c.limits)
			_, err := feedAll(&p, c.wire, step)
			var broken *frame.Error
			if !errors.As(err, &broken) || broken.Code != c.code {
				t.Errorf("%s, step %d: got %v, want %d", name, step, err, c.code)
			}
		}
	}
	p := frame.NewParser(on) // the inflater is good for others afterwards
	if got, err := feedAll(&p, masked(ws.OpText, true, true, good), 3); err != nil || got[0] != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestBombCostsItsLimit sends half a megabyte that grows to 512 MiB: a
// compressed mebibyte of zeros, over and over.
func TestBombCostsItsLimit(t *testing.T) {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.BestCompression)
	zeros := make([]byte, 1<<20)
	_, _ = w.Write(zeros)
	_ = w.Flush()
	first := buf.Len()
	_, _ = w.Write(zeros) // refers to the first, as all after it do
	_ = w.Flush()
	bomb := append(buf.Bytes()[:first:first], bytes.Repeat(buf.Bytes()[first:], 511)...)
	wire := masked(ws.OpBinary, true, true, bomb)
	const limit = 1 << 20
	l := &frame.Limits{MaxMessage: limit, MaxFragments: 10, Inflater: frame.NewInflater()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p := frame.NewParser(l)
	err := p.Feed(wire, func(m frame.Message) error {
		_, err := m.Inflated()
		return err
	})
	runtime.ReadMemStats(&after)
	var broken *frame.Error
	if !errors.As(err, &broken) || broken.Code != ws.StatusMessageTooBig {
		t.Fatalf("got %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 10*limit { // the buffer doubles on its way
		t.Errorf("took %d bytes for a limit of %d", took, limit)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(compressed(f, []byte("hello")), 100)
	f.Add(compressed(f, make([]byte, 10_000)), 100)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, body []byte, limit int) {
		limit = 1 + max(0, limit)%5000
		l := &frame.Limits{MaxMessage: limit, MaxFragments: 10, Inflater: frame.NewInflater()}
		var results [2]string
		for i := range results { // an inflater that was used gives the same
			p := frame.NewParser(l)
			got, err := feedAll(&p, masked(ws.OpBinary, true, true, body), 1+i*50)
			switch {
			case err != nil:
				results[i] = err.Error()
			case len(got) != 1 || len(got[0]) > limit:
				t.Fatalf("%d messages", len(got))
			default:
				results[i] = "ok " + got[0]
			}
		}
		if results[0] != results[1] {
			t.Errorf("got %q, then %q", results[0], results[1])
		}
	})
}

func BenchmarkCompressForThousand(b *testing.B) {
	c := frame.NewCompressor(512)
	text := []byte(strings.Repeat(`{"order":17,"state":"shipped","eta":"12:30"}`, 23))
	b.ReportAllocs()
	for b.Loop() {
		f := frame.Text(text)
		for range 1000 {
			_ = f.For(c)
		}
	}
}
