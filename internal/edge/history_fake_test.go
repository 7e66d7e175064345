package edge_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// fakeHistory is a log in memory. All methods may be called concurrently.
type fakeHistory struct {
	mu    sync.Mutex
	epoch int
	seq   uint64
	// kept is what the history holds.
	kept map[address.Target][]*message.Message
	// limit is how many are kept of a target.
	limit int
	// removed is the newest message of a target that was pushed out.
	removed      map[address.Target]uint64
	reads, lasts int
	// cut bounds the pages, whatever is asked for; 0: it does not.
	cut int
	// before is called by Last and Read, without the lock, before and after they
	// look. An error fails them.
	before func() error
	// stale says that Read answers with no more than it must.
	stale func() bool
	// reading is called by Read, without the lock, before it looks.
	reading func(address.Target)
	// keeps says what is kept; nil: users and channels.
	keeps func(address.Target) bool
}

func newFakeHistory(limit int) *fakeHistory {
	return &fakeHistory{
		epoch: 1, limit: limit,
		kept:    make(map[address.Target][]*message.Message),
		removed: make(map[address.Target]uint64),
	}
}

func epochName(n int) string { return fmt.Sprintf("epoch%d", n) }

// store stores a message and returns its live copy. payload is told its place.
func (h *fakeHistory) store(t address.Target, ttl time.Duration, payload func(epoch int, seq uint64) string) *message.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.storeLocked(t, ttl, "", payload)
}

// storeTyped is store for a notification with a type.
func (h *fakeHistory) storeTyped(t address.Target, kind string, payload func(epoch int, seq uint64) string) *message.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.storeLocked(t, 0, kind, payload)
}

func (h *fakeHistory) storeLocked(t address.Target, ttl time.Duration, kind string, payload func(epoch int, seq uint64) string) *message.Message {
	h.seq++
	m := &message.Message{
		ID: message.NewID(), Target: t, Payload: []byte(payload(h.epoch, h.seq)),
		NotificationType: kind,
		Position:         message.Position{Epoch: epochName(h.epoch), Offset: h.seq},
	}
	if ttl > 0 {
		m.Deadline = time.Now().Add(ttl)
	}
	live := *m
	if kept := h.kept[t]; len(kept) > 0 {
		live.Previous = kept[len(kept)-1].Position.Offset
	}
	h.kept[t] = append(h.kept[t], m)
	if len(h.kept[t]) > h.limit {
		h.removed[t] = h.kept[t][0].Position.Offset
		h.kept[t] = h.kept[t][1:]
	}
	return &live
}

// anew loses everything.
func (h *fakeHistory) anew(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
	h.seq = seq
	clear(h.kept)
	clear(h.removed)
}

func (h *fakeHistory) counts() (reads, lasts int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads, h.lasts
}

func (h *fakeHistory) Keeps(t address.Target) bool {
	if h.keeps != nil {
		return h.keeps(t)
	}
	return t.Kind() == address.KindUser || t.Kind() == address.KindChannel
}

func (h *fakeHistory) pause() error {
	if h.before == nil {
		return nil
	}
	return h.before()
}

func (h *fakeHistory) Last(_ context.Context, targets []address.Target) (string, []uint64, error) {
	if err := h.pause(); err != nil {
		return "", nil, err
	}
	h.mu.Lock()
	h.lasts++
	epoch := epochName(h.epoch)
	offsets := make([]uint64, len(targets))
	for i, t := range targets {
		offsets[i] = h.seq // all later ones exceed it
		if kept := h.kept[t]; len(kept) > 0 {
			offsets[i] = kept[len(kept)-1].Position.Offset
		}
	}
	h.mu.Unlock()
	return epoch, offsets, h.pause()
}

func (h *fakeHistory) Read(_ context.Context, t address.Target, q history.Query) (*history.Page, error) {
	if q.Reverse || q.Limit <= 0 || q.Bytes <= 0 {
		return nil, errors.New("not a query of the feeds")
	}
	if err := h.pause(); err != nil {
		return nil, err
	}
	if h.reading != nil {
		h.reading(t)
	}
	// The answer may be of a server that has got no further than it must.
	upTo := uint64(math.MaxUint64)
	if h.stale != nil && h.stale() {
		upTo = q.Known
	}
	h.mu.Lock()
	h.reads++
	page := &history.Page{Epoch: epochName(h.epoch)}
	if h.removed[t] > q.After {
		page.Gap = history.ReasonTrimmed
	}
	limit := q.Limit
	if h.cut > 0 {
		limit = min(limit, h.cut)
	}
	bytes := 0
	from := 0
	for i, m := range h.kept[t] {
		if m.Position.Offset <= q.After {
			from = i + 1
		}
	}
	if behind := len(h.kept[t]) - from; q.Newest > 0 && behind > q.Newest {
		from += behind - q.Newest
		page.Gap = history.ReasonOverflow
	}
	for _, m := range h.kept[t][from:] {
		if m.Position.Offset > upTo {
			break
		}
		if m.Position.Offset <= q.After || !m.Deadline.IsZero() && time.Now().After(m.Deadline) {
			continue
		}
		bytes += len(m.Payload)
		if len(page.Messages) == limit || len(page.Messages) > 0 && bytes > q.Bytes {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, m)
	}
	h.mu.Unlock()
	return page, h.pause()
}
