package edge

import (
	"time"

	"github.com/aegisx/pushd/internal/edge/frame"
)

// maxKeptQueue is how many empty places a drained queue keeps, so that steady
// traffic needs no allocation and a burst leaves no memory behind.
const maxKeptQueue = 8

// maxQueuedBytes bounds every queue, whatever the options allow.
const maxQueuedBytes = 1 << 30

// outbox is what waits for one connection: frames that are shared with other
// connections and never changed. It is owned by the connection's loop.
type outbox struct {
	frames []*frame.Frame
	// compressor is set when the client has negotiated permessage-deflate.
	compressor *frame.Compressor
	// sent is how many bytes of frames[0] are out. Once it is positive, that
	// frame finishes before anything else.
	sent uint32
	// bytes is what the frames hold in memory, less what is sent of the first.
	// One frame and maxQueuedBytes fit.
	bytes uint32
}

// admits reports whether one more frame that holds n bytes fits. An empty queue
// admits one of any size.
func (o *outbox) admits(n, maxBytes, maxFrames int) bool {
	return len(o.frames) == 0 || o.waiting()+n <= min(maxBytes, maxQueuedBytes) && len(o.frames) < maxFrames
}

func (o *outbox) push(f *frame.Frame) {
	o.frames = append(o.frames, f)
	o.bytes += o.held(f)
}

// waiting returns how many bytes of memory the queue holds, as far as they are
// not sent. A compressed frame counts with its plain form, which it keeps alive.
func (o *outbox) waiting() int { return int(o.bytes) }

// held returns how many bytes f counts while it waits here.
func (o *outbox) held(f *frame.Frame) uint32 {
	return uint32(f.Held(o.compressor)) //nolint:gosec // No frame is that large.
}

// size returns how many bytes of f go over the wire.
func (o *outbox) size(f *frame.Frame) int { return len(f.For(o.compressor)) }

// discard gives up every frame that has not begun to go out and returns how
// many of those were messages.
func (o *outbox) discard() int {
	keep := 0
	if o.sent > 0 {
		keep = 1
	}
	gone := 0
	for _, f := range o.frames[keep:] {
		if f.IsMessage() {
			gone++
		}
	}
	clear(o.frames[keep:])
	o.frames = o.frames[:keep]
	o.bytes = 0
	if keep == 1 {
		o.bytes = o.held(o.frames[0]) - o.sent
	}
	return gone
}

// gather fills bufs with what waits, oldest first, and returns the part in use.
func (o *outbox) gather(bufs [][]byte) [][]byte {
	n := min(len(bufs), len(o.frames))
	for i := range n {
		bufs[i] = o.frames[i].For(o.compressor)
	}
	if n > 0 {
		bufs[0] = bufs[0][o.sent:]
	}
	return bufs[:n]
}

// expire gives up those of the next n frames whose deadline has passed at now,
// and returns where they stood in the queue. A frame that has begun to go out
// stays.
func (o *outbox) expire(now time.Time, n int) (places []int) {
	kept, next := 0, 0
	for ; next < len(o.frames) && kept < n; next++ {
		f := o.frames[next]
		if f.Expired(now) && (next > 0 || o.sent == 0) {
			o.bytes -= o.held(f)
			places = append(places, next)
			continue
		}
		o.frames[kept] = f
		kept++
	}
	if kept == next {
		return nil
	}
	rest := kept + copy(o.frames[kept:], o.frames[next:])
	clear(o.frames[rest:])
	o.frames = o.frames[:rest]
	return places
}

// advance records that n bytes went out, and returns how many frames ended with
// them.
func (o *outbox) advance(n int) (done int) {
	n += int(o.sent)
	o.bytes += o.sent
	for ; done < len(o.frames); done++ {
		size := o.size(o.frames[done])
		if n < size {
			break
		}
		n -= size
		o.bytes -= o.held(o.frames[done])
	}
	o.sent = uint32(n) //nolint:gosec // Less than a frame.
	o.bytes -= o.sent
	rest := copy(o.frames, o.frames[done:])
	clear(o.frames[rest:])
	o.frames = o.frames[:rest]
	if rest == 0 && cap(o.frames) > maxKeptQueue {
		o.frames = nil
	}
	return done
}
