package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// mendAfter is for how long storing must have failed before the server is
	// restarted, and mendPause the least time between two restarts.
	mendAfter = 10 * time.Second
	mendPause = time.Minute
	// startAgain is how long a server that did not start is left alone.
	startAgain = 5 * time.Second
	// mendRoom is what must be free on the disk, in bytes: without room a restart
	// mends nothing, and costs the live messages that are on their way.
	mendRoom = 8 << 20
)

// mender restarts the server of a lone node when its streams take nothing any
// more: a stream that met a full disk stays so until then.
type mender struct {
	// Set once.
	restart  func(context.Context) error
	free     func() (bytes int64, known bool)
	restarts prometheus.Counter
	log      *slog.Logger

	// Guarded by mu.
	mu           sync.Mutex
	after, pause time.Duration
	last         time.Time // of a restart
	down         bool      // the last one failed: no server runs
	full         bool      // it was told that there is no room
}

func newMender(srv *embedded, m *metrics, log *slog.Logger) *mender {
	return &mender{
		restart:  srv.restart,
		free:     func() (int64, bool) { return freeBytes(srv.store.path) },
		restarts: m.serverRestarts,
		log:      log,
		after:    mendAfter,
		pause:    mendPause,
	}
}

// mend restarts the server if storing has failed for so long. It blocks until
// that is over; ctx bounds the start.
func (m *mender) mend(ctx context.Context, stuck time.Duration, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause := m.pause
	if m.down {
		pause = startAgain
	}
	if !m.down && stuck < m.after || !m.last.IsZero() && now.Sub(m.last) < pause {
		return
	}
	if free, known := m.free(); known && free < mendRoom && !m.down {
		if !m.full {
			m.log.Error("the disk of the history is full: nothing is stored until there is room",
				"free_bytes", free, "needed_bytes", mendRoom)
		}
		m.full = true
		return
	}
	m.full, m.last = false, now
	m.log.Error("the history takes nothing: the embedded NATS server is restarted", "failing_for", stuck)
	m.restarts.Inc()
	err := m.restart(ctx)
	if m.down = err != nil; m.down && ctx.Err() == nil {
		m.log.Error("the embedded NATS server does not start", "error", err)
	}
}

// mend looks whether the streams still take what they are given.
func (s *store) mend(ctx context.Context) {
	if s.mender == nil || ctx.Err() != nil {
		return
	}
	stuck := max(s.stored.breaker.stuck(), s.keys.breaker.stuck(), s.record.stuck())
	s.mender.mend(ctx, stuck, time.Now())
}
