package edge_test

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// shelf is a history in memory. It keeps what it is told to, for ever.
type shelf struct {
	mu    sync.Mutex
	epoch string
	names map[string]bool // of the channels that it keeps
	kept  map[address.Target][]*message.Message
	gap   history.Reason
	// before is called by Read, without mu; nil: nothing is.
	before func(context.Context) error
}

func newShelf() *shelf {
	return &shelf{epoch: "e1", names: make(map[string]bool), kept: make(map[address.Target][]*message.Message)}
}

// change does what a line of a transcript says: "keep CHANNEL", "epoch NAME" or
// "gap REASON", without the reason: none.
func (s *shelf) change(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what, word, _ := strings.Cut(line, " ")
	switch what {
	case "keep":
		s.names[word] = true
	case "epoch":
		s.epoch = word
		clear(s.kept)
	case "gap":
		s.gap = history.Reason(word)
	default:
		panic("history " + line)
	}
}

func (s *shelf) epochNow() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// keep puts m behind what is there, if it has an offset.
func (s *shelf) keep(m *message.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.Position.IsZero() {
		s.kept[m.Target] = append(s.kept[m.Target], m)
	}
}

func (s *shelf) Keeps(t address.Target) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[t.Channel().String()]
}

func (s *shelf) Last(_ context.Context, targets []address.Target) (string, []uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offsets := make([]uint64, len(targets))
	for i, t := range targets {
		if n := len(s.kept[t]); n > 0 {
			offsets[i] = s.kept[t][n-1].Position.Offset
		}
	}
	return s.epoch, offsets, nil
}

func (s *shelf) Read(ctx context.Context, t address.Target, q history.Query) (*history.Page, error) {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := slices.Clone(s.kept[t])
	wanted := func(m *message.Message) bool { return m.Position.Offset > q.After }
	if q.Reverse {
		slices.Reverse(kept)
		wanted = func(m *message.Message) bool { return q.After == 0 || m.Position.Offset < q.After }
	}
	page := &history.Page{Epoch: s.epoch, Gap: s.gap}
	bytes := 0
	for _, m := range kept {
		if !wanted(m) {
			continue
		}
		bytes += len(m.Payload)
		if len(page.Messages) == q.Limit || len(page.Messages) > 0 && bytes > q.Bytes {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, m)
	}
	return page, nil
}
