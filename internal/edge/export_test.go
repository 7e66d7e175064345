package edge

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
