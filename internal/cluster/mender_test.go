package cluster

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/message"
)

func TestMender(t *testing.T) {
	begin := time.Now()
	var calls int
	var fail error
	free, known := int64(mendRoom), true
	m := &mender{
		restart: func(context.Context) error {
			calls++
			return fail
		},
		free:     func() (int64, bool) { return free, known },
		restarts: prometheus.NewCounter(prometheus.CounterOpts{Name: "x_total", Help: "Restarts."}),
		log:      slog.New(slog.DiscardHandler),
		after:    mendAfter,
		pause:    mendPause,
	}
	step := func(what string, at, stuck time.Duration, want int) {
		t.Helper()
		calls = 0
		if m.mend(t.Context(), stuck, begin.Add(at)); calls != want {
			t.Errorf("%s: %d restarts", what, calls)
		}
	}
	step("it works", 0, 0, 0)
	step("not for long", 0, mendAfter-1, 0)
	free = mendRoom - 1
	step("no room", 0, mendAfter, 0)
	known = false
	step("room unknown", 0, mendAfter, 1)
	free, known = mendRoom, true
	step("too soon again", mendPause-1, time.Hour, 0)
	fail = errors.New("does not start")
	step("again", mendPause, mendAfter, 1)
	step("too soon to start", mendPause+startAgain-1, 0, 0)
	free = 0
	step("start anew, whatever it takes", mendPause+startAgain, 0, 1)
	fail = nil
	step("start anew, and well", mendPause+2*startAgain, 0, 1)
	step("it is up", 2*mendPause, 0, 0)
}

func TestStuckBreaker(t *testing.T) {
	var b breaker
	now := time.Now()
	is := func(what string, want time.Duration) {
		t.Helper()
		if got := b.stuck(); got != want {
			t.Errorf("%s: stuck for %s", what, got)
		}
	}
	is("new", 0)
	b.failed(message.ErrHistoryFull, now)
	b.failed(message.ErrHistoryFull, now.Add(time.Hour))
	is("full", 0)
	now = now.Add(2 * time.Hour)
	b.failed(message.ErrUnavailable, now)
	is("once", 0)
	b.failed(message.ErrUnavailable, now.Add(time.Minute))
	is("twice", time.Minute)
	b.works()
	is("works", 0)
	b.failed(message.ErrUnavailable, now.Add(time.Hour))
	is("once more", 0)
}
