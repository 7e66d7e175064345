package edge_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSweepWhileRead: a sweep lets go of what the ring holds while what comes
// before that is read from a server that has no more.
func TestSweepWhileRead(t *testing.T) {
	room := channelTarget("acme", "room")
	// Sweeps are jittered: one of these reads is under way when the last one is due.
	for start := 26 * time.Second; start < 32*time.Second; start += time.Second {
		kept(t, 100, func(k *keptEnv) {
			var slow atomic.Bool
			k.history.stale = func() bool { return true }
			k.history.before = func() error {
				if slow.Swap(false) {
					pass(2 * time.Second)
				}
				return nil
			}
			k.dialV1("other").say(joinFrom("room", ""))
			k.publish(room, 3)
			awaitSweeps(k, 2)
			k.publish(room, 6) // all that the ring holds
			awaitSweeps(k, 1)
			pass(start)
			slow.Store(true)
			s := k.dialV1("u")
			s.say(joinFrom("room", recoverFrom(1, 1)))
			pass(4 * time.Second)
			expectHeard(t, s, "joined@9 recovered=true 2+ 3+ 4+ 5+ 6+ 7+ 8+ 9+")
		})
	}
}

// awaitSweeps waits until the feeds were swept so often.
func awaitSweeps(k *keptEnv, n int) {
	synctest.Wait()
	_, before := k.history.counts()
	for now := before; now < before+n; _, now = k.history.counts() {
		pass(100 * time.Millisecond)
		synctest.Wait()
	}
}
