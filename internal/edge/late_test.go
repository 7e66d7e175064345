package edge_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/message"
)

// TestCopiesAreOvertaken: what is read overtakes copies of what was stored before
// the feed began. Those who don't follow get all of it, in order.
func TestCopiesAreOvertaken(t *testing.T) {
	inbox := userTarget("acme", "u")
	begin := func(k *keptEnv) (follower, plain *recordSocket, waiting []*message.Message) {
		follower, plain = k.dialV1("u"), k.dialPlain("u")
		waiting = append(waiting, k.store(inbox), k.store(inbox))
		follower.say(request("subscribe_notifications", `"types":["all"]`))
		expectHeard(t, follower, "joined@2")
		waiting = append(waiting, k.store(inbox), k.store(inbox))
		k.hub.Doubt(inbox)
		expectHeard(t, follower, "3+ 4+")
		expectHeard(t, plain, "")
		return follower, plain, waiting
	}
	kept(t, 100, func(k *keptEnv) {
		follower, plain, waiting := begin(k)
		for _, m := range waiting {
			k.hub.Deliver(m)
		}
		expectHeard(t, follower, "1 2")
		expectHeard(t, plain, "1 2 3 4")
		k.publish(inbox, 1)
		expectHeard(t, follower, "5+")
		expectHeard(t, plain, "5")
	})
	// Some of the copies are lost.
	kept(t, 100, func(k *keptEnv) {
		_, plain, waiting := begin(k)
		k.hub.Deliver(waiting[0])
		k.hub.Deliver(waiting[3])
		expectHeard(t, plain, "1 3 4")
	})
	kept(t, 100, func(k *keptEnv) {
		_, plain, waiting := begin(k)
		k.hub.Deliver(waiting[0])
		k.publish(inbox, 1)
		expectHeard(t, plain, "1 3 4 5")
	})
	// All are, or they come too late.
	kept(t, 100, func(k *keptEnv) {
		follower, plain, waiting := begin(k)
		pass(11 * time.Second)
		expectHeard(t, plain, "3 4")
		for _, m := range waiting {
			k.hub.Deliver(m)
		}
		expectHeard(t, follower, "")
		expectHeard(t, plain, "")
		if got := k.metric(t, "pushd_edge_dropped_total", "late"); got != 2 {
			t.Errorf("%v counted, want 2", got)
		}
	})
}

// TestTrimmedBeforeItCame: the history has let go of what is still on its way.
// Who follows is told a gap; the others get it.
func TestTrimmedBeforeItCame(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 2, func(k *keptEnv) {
		follower, plain := k.dialV1("u"), k.dialPlain("u")
		follower.say(request("subscribe_notifications", `"types":["all"]`))
		expectHeard(t, follower, "joined@0")
		k.publish(inbox, 1)
		expectHeard(t, follower, "1+")
		var waiting []*message.Message
		for range 5 {
			waiting = append(waiting, k.store(inbox))
		}
		k.hub.Doubt(inbox)
		expectHeard(t, follower, "gap(1-4 trimmed) 5+ 6+")
		expectHeard(t, plain, "1")
		for _, m := range waiting {
			k.hub.Deliver(m)
		}
		expectHeard(t, follower, "")
		expectHeard(t, plain, "2 3 4 5 6")
	})
}

// TestHeldIsNotMissed: what came and waits for what is before it is handed over
// although the history has let go of it.
func TestHeldIsNotMissed(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 1, func(k *keptEnv) {
		set := k.failReads()
		s := k.dialV1("u")
		s.say(joinFrom("room", ""))
		expectHeard(t, s, "joined@0")
		set(errors.New("away"))
		k.store(room)
		k.publish(room, 3)
		expectHeard(t, s, "")
		set(nil)
		pass(3 * time.Second)
		expectHeard(t, s, "gap(0-1 trimmed) 2+ 3+ 4+")
	})
}

// TestNobodyWaitsForTheHistory: while the history is asked where a feed begins,
// members get what comes.
func TestNobodyWaitsForTheHistory(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 100, func(k *keptEnv) {
		k.hub.SetMostKept(0) // nothing may be held
		answer := make(chan struct{})
		k.history.before = func() error {
			<-answer
			return nil
		}
		follower, plain := k.dialV1("u"), k.dialPlain("u")
		follower.say(request("subscribe_notifications", `"types":["all"]`))
		k.publish(inbox, 3)
		expectHeard(t, plain, "1 2 3")
		close(answer)
		expectHeard(t, follower, "1 2 3 joined@3")
		k.publish(inbox, 1)
		expectHeard(t, follower, "4+")
		expectHeard(t, plain, "4")
	})
}

// TestOvertakenTwice: what was read stands between two holes from which copies
// are on their way.
func TestOvertakenTwice(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 2, func(k *keptEnv) {
		follower, plain := k.dialV1("u"), k.dialPlain("u")
		var waiting []*message.Message
		store := func(n int) {
			for range n {
				waiting = append(waiting, k.store(inbox))
			}
		}
		store(2)
		follower.say(request("subscribe_notifications", `"types":["all"]`))
		expectHeard(t, follower, "joined@2")
		store(2)
		k.hub.Doubt(inbox)
		expectHeard(t, follower, "3+ 4+")
		store(4)
		k.hub.Doubt(inbox)
		expectHeard(t, follower, "gap(4-6 trimmed) 7+ 8+")
		for _, m := range waiting {
			k.hub.Deliver(m)
		}
		expectHeard(t, follower, "1 2")
		expectHeard(t, plain, "1 2 3 4 5 6 7 8")
	})
}

// TestLateAfterReplay: who has asked for what is older gets it once.
func TestLateAfterReplay(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 100, func(k *keptEnv) {
		s := k.dialV1("u")
		late := k.store(inbox)
		s.say(request("subscribe_notifications", `"types":["all"]`))
		expectHeard(t, s, "joined@1")
		s.say(request("subscribe_notifications", `"types":["all"]`+recoverFrom(1, 0)))
		expectHeard(t, s, "joined@1 recovered=true 1+")
		k.hub.Deliver(late)
		expectHeard(t, s, "")
	})
}

// TestReadWhileNobodyFollows: a feed that nobody follows any more stays for the
// copies of what it has read.
func TestReadWhileNobodyFollows(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 100, func(k *keptEnv) {
		follower, plain := k.dialV1("u"), k.dialPlain("u")
		follower.say(request("subscribe_notifications", `"types":["all"]`))
		k.publish(inbox, 1)
		expectHeard(t, plain, "1")
		follower.Close()
		pass(9 * time.Second)
		late := k.store(inbox)
		k.hub.Doubt(inbox)
		expectHeard(t, plain, "2")
		pass(3 * time.Second)
		k.hub.Deliver(late)
		expectHeard(t, plain, "")
	})
}
