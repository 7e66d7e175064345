package edge

import "github.com/aegisx/pushd/internal/address"

// maxPlaces is how many reads of the history may be under way at once: so many
// for clients that ask, and so many for feeds.
const maxPlaces = 32

// places are shared by tenants: none may hold more of them than are free. So one
// leaves half of them to the others, and several still leave some to the next.
// For feeds what is public is a tenant of its own. The zero value has all places
// free; the owner's mutex guards it.
type places struct {
	taken int
	held  map[address.TenantID]int
}

// take gives a tenant a place; false: it must wait, or go without.
func (p *places) take(tenant address.TenantID) bool {
	if p.held[tenant] >= maxPlaces-p.taken {
		return false
	}
	if p.held == nil {
		p.held = make(map[address.TenantID]int)
	}
	p.taken++
	p.held[tenant]++
	return true
}

// give takes a place back.
func (p *places) give(tenant address.TenantID) {
	p.taken--
	if p.held[tenant]--; p.held[tenant] == 0 {
		delete(p.held, tenant)
	}
}

// full reports whether there is no place for anybody.
func (p *places) full() bool { return p.taken == maxPlaces }
