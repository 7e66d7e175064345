package edge

import (
	"container/list"
	"net"
)

// maxHandshakes bounds the sockets that are not connections yet.
const maxHandshakes = 4096

// earlySockets are the sockets that are not connections yet, oldest first. When
// there are too many the oldest is closed: it has had the longest time, and a
// flood of silent sockets cannot keep newcomers out. The server's mutex guards
// it.
type earlySockets struct {
	byAge list.List // of net.Conn
	at    map[net.Conn]*list.Element
}

// add takes in nc. It reports whether another one was closed for it.
func (e *earlySockets) add(nc net.Conn) (evicted bool) {
	if e.at == nil {
		e.at = make(map[net.Conn]*list.Element)
	}
	if e.byAge.Len() >= maxHandshakes {
		oldest, _ := e.byAge.Front().Value.(net.Conn)
		e.remove(oldest)
		_ = oldest.Close() // its handshake learns of it there
		evicted = true
	}
	e.at[nc] = e.byAge.PushBack(nc)
	return evicted
}

// remove lets nc go, if it is still there.
func (e *earlySockets) remove(nc net.Conn) {
	if el, ok := e.at[nc]; ok {
		e.byAge.Remove(el)
		delete(e.at, nc)
	}
}

// closeAll closes what is there.
func (e *earlySockets) closeAll() {
	for nc := range e.at {
		_ = nc.Close()
	}
}
