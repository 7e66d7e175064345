package cluster

import (
	"sync"
	"time"
)

// clientShare is the part of the room of the keys, one of so many, that the
// clients of one tenant may fill by way of one node within a keyWindow.
const clientShare = 8

// shares counts what the clients of each tenant put into the stream of the keys.
// That stream refuses everybody when it is full, so one tenant must not fill it
// for all.
type shares struct {
	mu    sync.Mutex
	began time.Time
	used  map[string]int64 // bytes since then, by tenant
}

// take counts size bytes of a tenant in and reports whether that is no more than
// most. The first message of a window may have any size.
func (s *shares) take(tenant string, size, most int64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil || now.Sub(s.began) >= keyWindow {
		s.began, s.used = now, make(map[string]int64)
	}
	used := s.used[tenant]
	if used > 0 && used+size > most {
		return false
	}
	s.used[tenant] = used + size
	return true
}
