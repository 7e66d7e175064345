package edge

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/edge/frame"
)

func text(n int) *frame.Frame { return frame.Text([]byte(strings.Repeat("x", n))) }

func TestOutboxAdmits(t *testing.T) {
	for _, c := range []struct {
		name             string
		waiting          []int // payloads
		n, bytes, frames int
		want             bool
	}{
		{"empty takes any size", nil, 1 << 20, 1024, 1, true},
		{"fits exactly", []int{98}, 100, 200, 9, true},
		{"a byte too many", []int{98}, 101, 200, 9, false},
		{"a frame too many", []int{0, 0}, 2, 200, 2, false},
		{"the last frame", []int{0}, 2, 200, 2, true},
		{"behind one that is too large", []int{4000}, 2, 1024, 9, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o outbox
			for _, n := range c.waiting {
				o.push(text(n))
			}
			if got := o.admits(c.n, c.bytes, c.frames); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestOutboxCountsWhatIsHeld: a compressed frame keeps its plain form alive, and
// counts with it until the last byte is out.
func TestOutboxCountsWhatIsHeld(t *testing.T) {
	const bound, frames = 1 << 20, 4096
	o := outbox{compressor: frame.NewCompressor(512)}
	f := text(bound)
	wire := o.size(f)
	if wire > bound/100 {
		t.Fatalf("%d bytes of one go out", wire)
	}
	if !o.admits(f.Held(o.compressor), bound, frames) {
		t.Error("an empty queue does not take it")
	}
	o.push(f)
	if got, want := o.waiting(), f.Len()+wire; got != want {
		t.Errorf("%d bytes wait, want %d", got, want)
	}
	if o.admits(f.Held(o.compressor), bound, frames) || o.admits(2, bound, frames) {
		t.Error("a full queue takes more")
	}
	o.advance(wire - 1)
	if got, want := o.waiting(), f.Len()+1; got != want {
		t.Errorf("%d bytes wait before the last, want %d", got, want)
	}
	o.advance(1)
	if o.waiting() != 0 || len(o.frames) != 0 {
		t.Errorf("%d bytes in %d frames wait at the end", o.waiting(), len(o.frames))
	}
}

// TestOutboxModel writes in random pieces: what goes out is what was pushed, in
// order and whole, and the count of bytes is right at every step. Every other
// seed compresses.
func TestOutboxModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var compressor *frame.Compressor
		if seed%2 == 1 {
			compressor = frame.NewCompressor(20)
		}
		var (
			o         = outbox{compressor: compressor}
			want, out []byte
			room      = make([][]byte, 1+r.IntN(5))
		)
		for range 300 {
			switch r.IntN(8) {
			case 0, 1, 2:
				f := frame.Text(bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(200)))
				o.push(f)
				want = append(want, f.For(compressor)...)
			case 3:
				if r.IntN(10) > 0 {
					continue
				}
				// What began to go out stays, the rest is gone.
				rest := 0
				if o.sent > 0 {
					rest = len(o.frames[0].For(compressor)) - int(o.sent)
				}
				gone, before := o.discard(), len(o.frames)
				if before > 1 || gone < 0 {
					t.Fatalf("seed %d: %d frames stay, %d are gone", seed, before, gone)
				}
				want = want[:len(out)+rest]
			default:
				n := 0
				var piece []byte
				for _, b := range o.gather(room) {
					piece = append(piece, b...)
				}
				if len(piece) > 0 {
					n = r.IntN(len(piece) + 1)
				}
				out = append(out, piece[:n]...)
				o.advance(n)
			}
			if !bytes.HasPrefix(want, out) {
				t.Fatalf("seed %d: what went out is not what was pushed", seed)
			}
			held := len(want) - len(out)
			for _, f := range o.frames {
				if len(f.For(compressor)) < f.Len() {
					held += f.Len()
				}
			}
			if o.waiting() != held || (o.bytes == 0) != (len(o.frames) == 0) {
				t.Fatalf("seed %d: %d bytes in %d frames wait, want %d", seed, o.waiting(), len(o.frames), held)
			}
		}
	}
}

// TestOutboxMemory: a burst leaves no memory behind, and no frame.
func TestOutboxMemory(t *testing.T) {
	var o outbox
	for range 1000 {
		o.push(text(10))
	}
	o.advance(999 * 12)
	for _, f := range o.frames[:cap(o.frames)][1:] {
		if f != nil {
			t.Fatal("a frame that is out is kept")
		}
	}
	o.advance(12)
	if cap(o.frames) > maxKeptQueue {
		t.Errorf("%d places are kept", cap(o.frames))
	}
	for range maxKeptQueue {
		o.push(text(10))
	}
	o.advance(maxKeptQueue * 12)
	f := text(10)
	if n := testing.AllocsPerRun(100, func() { o.push(f); o.advance(12) }); n != 0 {
		t.Errorf("%g allocations for a message in steady traffic", n)
	}
}
