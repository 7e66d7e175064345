package edge

// SetMemoryLevel puts h on a step of the memory ladder, as watchMemory would.
func (h *Hub) SetMemoryLevel(level int) {
	h.setMemoryLevel(memoryLevel(level))
	if h.memory() == memoryCritical {
		h.evictSlowest(1)
	}
}
