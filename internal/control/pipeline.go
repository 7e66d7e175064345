package control

import (
	"sync"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// Bounds of one Publish stream. At one of them it is not read.
const (
	// maxCommands and maxCommandBytes bound the commands that were read and not
	// answered, the latter in bytes of payload, over which one command may go.
	maxCommands     = 256
	maxCommandBytes = 8 << 20
	// maxReceipts bounds those of them that wait for a receipt: each has a
	// goroutine.
	maxReceipts = 32
	// maxAnswers is how many answers are sent before their places are free.
	maxAnswers = 64
)

// pipeline holds the commands of one stream from when they are read until they
// are answered, in the order in which they came. One goroutine adds, one takes
// out; commands are finished by any.
type pipeline struct {
	// Set once. The channels but ended have room for one: something changed.
	changed chan struct{} // for who takes out
	room    chan struct{} // for who adds
	ended   chan struct{} // closed by end

	// Guarded by mu.
	mu         sync.Mutex
	places     [maxCommands]place
	head, tail uint64 // the oldest command, the next one; modulo maxCommands
	bytes      int
	over       bool // no more commands
	orderly    bool // those that are in are to be answered
	why        error
	awaited    map[address.Target]struct{} // targets of which a receipt is awaited
}

// place is one command in flight.
type place struct {
	command  command
	bytes    int
	receipt  address.Target // zero: none is awaited
	finished bool
	accepted message.Accepted
	err      error
	// finish is called once for each command that has the place.
	finish func(message.Accepted, error)
}

func newPipeline() *pipeline {
	return &pipeline{
		changed: make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		awaited: make(map[address.Target]struct{}),
	}
}

// hasRoom waits until one more command may be read. False: none is wanted.
func (p *pipeline) hasRoom() bool {
	return p.wait(func() bool { return p.tail-p.head < maxCommands && p.bytes < maxCommandBytes })
}

// add puts a command in, after hasRoom; m is nil for one that is refused. It
// waits while a receipt for the same target is awaited, since its message may
// not be on its way yet. The place is nil when no more commands are wanted.
func (p *pipeline) add(c command, m *message.Message) *place {
	if m == nil {
		m = &message.Message{}
	}
	wantsReceipt := m.Receipt.Level != message.LevelNone
	var added *place
	p.wait(func() bool {
		if _, ok := p.awaited[m.Target]; ok {
			return false
		}
		if wantsReceipt && len(p.awaited) >= maxReceipts {
			return false
		}
		added = &p.places[p.tail%maxCommands]
		p.tail++
		if added.finish == nil {
			place := added
			added.finish = func(a message.Accepted, err error) { p.finish(place, a, err) }
		}
		added.command, added.bytes, added.finished = c, len(m.Payload), false
		p.bytes += added.bytes
		if wantsReceipt {
			added.receipt = m.Target
			p.awaited[m.Target] = struct{}{}
		}
		return true
	})
	return added
}

// wait waits until try, called with the lock held, returns true. False: the
// pipeline has ended.
func (p *pipeline) wait(try func() bool) bool {
	for {
		p.mu.Lock()
		over := p.over
		done := !over && try()
		p.mu.Unlock()
		if done || over {
			return done
		}
		select {
		case <-p.room:
		case <-p.ended:
		}
	}
}

func (p *pipeline) finish(x *place, a message.Accepted, err error) {
	p.mu.Lock()
	x.accepted, x.err, x.finished = a, err, true
	oldest := x == &p.places[p.head%maxCommands]
	awaited := !x.receipt.IsZero()
	if awaited {
		delete(p.awaited, x.receipt)
		x.receipt = address.Target{}
	}
	p.mu.Unlock()
	if oldest {
		signal(p.changed)
	}
	if awaited {
		signal(p.room)
	}
}

// finished appends to out the oldest commands as far as they are finished, at
// most maxAnswers. Their places are taken until release.
func (p *pipeline) finished(out []*place) []*place {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := p.head; at < p.tail && len(out) < maxAnswers; at++ {
		x := &p.places[at%maxCommands]
		if !x.finished {
			break
		}
		out = append(out, x)
	}
	return out
}

// release frees the n oldest places.
func (p *pipeline) release(n int) {
	p.mu.Lock()
	for range n {
		x := &p.places[p.head%maxCommands]
		p.bytes -= x.bytes
		x.accepted, x.err = message.Accepted{}, nil
		p.head++
	}
	p.mu.Unlock()
	signal(p.room)
}

// end lets no more commands in, for the reason why, which may be nil. In an
// orderly end those that are in are answered first. Only the first call
// counts.
func (p *pipeline) end(why error, orderly bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over, p.orderly, p.why = true, orderly, why
	close(p.ended)
	signal(p.changed)
}

// result reports whether the stream is done, and why.
func (p *pipeline) result() (done bool, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over || p.orderly && p.head != p.tail {
		return false, nil
	}
	return true, p.why
}

// signal wakes who waits for c, now or later.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
