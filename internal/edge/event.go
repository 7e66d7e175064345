package edge

import (
	"sync"
	"sync/atomic"

	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/message"
)

// event is one message on its way to the connections of this node. Its frames
// are made when the first connection needs them, once for each dialect, and
// shared by all. Safe for concurrent use.
type event struct {
	// set once
	message *message.Message

	mu sync.Mutex // held while a frame is made
	// frames are those that were made: two for each dialect, without the offset
	// of the message and with it.
	frames [2 * (handshake.Dialects - handshake.Plain)]atomic.Pointer[frame.Frame]
}

func newEvent(m *message.Message) *event { return &event{message: m} }

// frame returns the message as connections of dialect d get it. withOffset asks
// for its offset, where the dialect has one and the message is stored.
func (e *event) frame(d handshake.Dialect, withOffset bool) *frame.Frame {
	withOffset = withOffset && d != handshake.Plain && !e.message.Position.IsZero()
	index := 2 * (d - handshake.Plain)
	if withOffset {
		index++
	}
	place := &e.frames[index]
	if f := place.Load(); f != nil {
		return f
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f := place.Load()
	if f == nil {
		f = messageFrame(e.message, d, withOffset)
		if !e.message.Transit {
			f.Until(e.message.Deadline)
		}
		place.Store(f)
	}
	return f
}
