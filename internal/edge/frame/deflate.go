package frame

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

const (
	// deflateLevel compresses JSON nearly as well as the levels above it, in
	// half of their time.
	deflateLevel = 5
	// compressedBit is RSV1, which permessage-deflate uses (RFC 7692, section 6).
	compressedBit = 0x40
	// flushTail is what a sync flush ends with and permessage-deflate leaves out
	// (RFC 7692, section 7.2.1).
	flushTail = "\x00\x00\xff\xff"
)

// Compressor makes the compressed form of frames for permessage-deflate without
// context takeover, so that all receivers of a message share it. Safe for
// concurrent use.
type Compressor struct {
	threshold int
	off       atomic.Bool

	mu     sync.Mutex
	buf    bytes.Buffer
	writer *flate.Writer // nil until the first use: it takes about 1 MiB
}

// NewCompressor compresses messages of at least threshold bytes.
func NewCompressor(threshold int) *Compressor { return &Compressor{threshold: threshold} }

// SetOff stops compressing, to save memory and time, or goes on.
func (c *Compressor) SetOff(off bool) { c.off.Store(off) }

// For returns the frame as a connection that has negotiated the extension gets
// it: compressed once for all, or plain where that is shorter. c may be nil:
// plain. The caller must not change it.
func (f *Frame) For(c *Compressor) []byte {
	if c == nil || f.payload() < c.threshold || !f.IsMessage() {
		return f.plain
	}
	f.once.Do(func() { f.deflated = c.compress(f) })
	return f.deflated
}

// Held returns how many bytes of memory f holds while a connection that gets
// For(c) waits for it: its plain form, which all receivers share, and the
// compressed one beside it.
func (f *Frame) Held(c *Compressor) int {
	if c == nil {
		return len(f.plain)
	}
	n := len(f.For(c))
	if n == len(f.plain) { // it is the plain one: a compressed one is shorter
		return n
	}
	return len(f.plain) + n
}

// compress returns the compressed frame of f, or its plain one.
func (c *Compressor) compress(f *Frame) []byte {
	if c.off.Load() {
		return f.plain
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writer == nil {
		// It fails only for a level that does not exist.
		c.writer, _ = flate.NewWriter(nil, deflateLevel)
	}
	c.buf.Reset()
	c.writer.Reset(&c.buf)
	// A bytes.Buffer takes everything.
	_, _ = c.writer.Write(f.plain[len(f.plain)-f.payload():])
	_ = c.writer.Flush()
	body := bytes.TrimSuffix(c.buf.Bytes(), []byte(flushTail))
	if len(body) >= f.payload() {
		return f.plain
	}
	deflated := build(ws.OpCode(f.plain[0]&0x0F), body).plain
	deflated[0] |= compressedBit
	if c.buf.Cap() > maxKeptBuffer {
		c.buf = bytes.Buffer{}
	}
	return deflated
}

// payload returns the length of the payload.
func (f *Frame) payload() int {
	switch f.plain[1] {
	case length16:
		return len(f.plain) - 4
	case length64:
		return len(f.plain) - 10
	default:
		return len(f.plain) - 2
	}
}
