package stress_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/bench"
)

const (
	// offerDeflate is the header line of a client that can inflate.
	offerDeflate = "Sec-WebSocket-Extensions: permessage-deflate"
	// blockSize is how much of a compressible filler is random, in bytes: within
	// the window of DEFLATE, so that the rest of it costs next to nothing.
	blockSize = 16 << 10
)

// TestStalledClientsDeflate is TestStalledClients with clients that have all
// negotiated permessage-deflate. Their messages shrink to a seventh: a queue
// that counted what goes on the wire would hold eight times its bound.
func TestStalledClientsDeflate(t *testing.T) {
	ctx := bounded(t, inLong(5*time.Minute, patience))
	s := newStalls(ctx, t, inLong(10, 2))
	s.load = deflating{s.load}
	s.filler = compressible
	s.header = []string{offerDeflate}
	s.pace = time.Millisecond // many fit into the kernel's buffers
	for range inLong(5, 1) {
		s.stalled(ctx, t, s.traffic())
	}
	s.report(t)
	if s.compressed < s.closed {
		t.Errorf("%d closed clients got %d compressed messages", s.closed, s.compressed)
	}
}

// compressible returns a filler that nobody else gets and that shrinks to about
// a seventh.
func compressible() string {
	block := make([]byte, blockSize/2)
	for i := range block {
		block[i] = byte(rand.Uint32())
	}
	return strings.Repeat(hex.EncodeToString(block), fillerSize/blockSize)
}

// deflating is a server whose clients negotiate permessage-deflate. What they
// get must stay below the size from which messages are compressed: they refuse
// others.
type deflating struct{ bench.Server }

// Client implements bench.Server.
func (d deflating) Client(i int) (bench.Client, error) {
	c, err := d.Server.Client(i)
	if head, ok := bytes.CutSuffix(c.Request, []byte("\r\n\r\n")); ok {
		c.Request = append(head[:len(head):len(head)], "\r\n"+offerDeflate+"\r\n\r\n"...)
	}
	return c, err
}
