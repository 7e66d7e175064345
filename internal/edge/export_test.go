package edge

import (
	"maps"
	"slices"

	"github.com/aegisx/pushd/internal/message"
)

// SetMemoryLevel puts h on a step of the memory ladder, as watchMemory would.
func (h *Hub) SetMemoryLevel(level int) {
	h.setMemoryLevel(memoryLevel(level))
	if h.memory() == memoryCritical {
		h.evictSlowest(1)
	}
}

// SetInboxDepth bounds the inboxes of h's loops, before anything is delivered.
func (h *Hub) SetInboxDepth(depth int) {
	for _, l := range h.loops {
		l.depth = depth
	}
}

// SetMostKept bounds what the feeds keep, before there are any.
func (h *Hub) SetMostKept(bytes int64) { h.feeds.most = bytes }

// KeptByFeeds returns what the feeds keep, in bytes.
func (h *Hub) KeptByFeeds() int64 { return h.feeds.kept.Load() }

// Ack acknowledges messages for a connection, as its client's request would.
func (h *Hub) Ack(id string, messages ...message.ID) {
	for _, c := range h.openConns() {
		if c.id.String() == id {
			c.loop.mu.Lock()
			c.ackLocked(messages)
			c.loop.mu.Unlock()
		}
	}
}

// Tracked counts the deliveries and the receipts that are followed, and the
// marks of receipts on connections.
func (h *Hub) Tracked() (deliveries int64, receipts, marks int) {
	receipts = h.OpenReceipts()
	for _, c := range h.openConns() {
		c.loop.mu.Lock()
		if c.seldom != nil {
			marks += c.seldom.trail.len()
		}
		c.loop.mu.Unlock()
	}
	return h.receipts.tracked.Load(), receipts, marks
}

// ExpireReceipts ends the time of all receipts that are not reported.
func (h *Hub) ExpireReceipts() {
	h.receipts.mu.Lock()
	all := slices.Collect(maps.Keys(h.receipts.open))
	h.receipts.mu.Unlock()
	for _, r := range all {
		r.expire()
	}
}

// OpenReceipts counts the receipts that are not reported.
func (h *Hub) OpenReceipts() int {
	h.receipts.mu.Lock()
	defer h.receipts.mu.Unlock()
	return len(h.receipts.open)
}
