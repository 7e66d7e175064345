package edge_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/message"
)

// TestReconnectStorm: many come back at once, from everywhere, and the history
// is read a few times.
func TestReconnectStorm(t *testing.T) {
	const clients, channels = 10_000, 100
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 200, nil)
		k.history.before = func() error { pass(3 * time.Millisecond); return nil }
		// All channels, so that their offsets mix.
		for range 100 {
			for i := range channels {
				k.store(channelTarget("acme", fmt.Sprint("tenant:acme:", i)))
			}
		}
		sockets := make([]*recordSocket, 0, clients)
		for range clients {
			sockets = append(sockets, k.open(who{}, v1Field))
		}
		for i, s := range sockets {
			from := uint64(i) % 10_000
			s.say(joinFrom(fmt.Sprint("tenant:acme:", i%channels), recoverFrom(1, from)))
			if i%20 == 0 {
				pass(time.Millisecond)
			}
		}
		pass(time.Second)
		synctest.Wait()
		for i, s := range sockets {
			want := 0
			for n := uint64(i)%10_000 + 1; n <= 10_000; n++ {
				if (n-1)%channels == uint64(i%channels) {
					want++
				}
			}
			got := s.take()
			if len(got) != want+1 || !strings.Contains(got[0], `"recovered":true`) {
				t.Fatalf("client %d got %d messages, want %d: %s", i, len(got)-1, want, got[0])
			}
		}
		reads, lasts := k.history.counts()
		if reads > 5*channels || lasts > 20 {
			t.Errorf("%d reads of %d channels, %d questions", reads, channels, lasts)
		}
		t.Logf("%d reads, %d questions for %d joins", reads, lasts, clients)
	})
}

// TestJoinBehindMany: a join does not look at all that wait for the same target.
func TestJoinBehindMany(t *testing.T) {
	const many, more = 3000, 100
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 200, nil)
		room := channelTarget("acme", "room")
		var slow atomic.Bool
		reading := make(chan struct{})
		k.history.before = func() error {
			if slow.Load() {
				<-reading
			}
			return nil
		}
		k.dialV1("other").say(joinFrom("room", ""))
		synctest.Wait()
		for range 9 {
			k.store(room)
		}
		k.hub.Doubt(room)
		awaitSweeps(k, 2) // the ring is empty
		slow.Store(true)
		var sockets []*recordSocket
		for range many + more {
			sockets = append(sockets, k.open(who{channels: []string{"**"}}, v1Field))
		}
		join := func(sockets []*recordSocket) uint64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, s := range sockets {
				s.say(joinFrom("room", recoverFrom(1, 1)))
			}
			synctest.Wait()
			runtime.ReadMemStats(&after)
			return (after.Mallocs - before.Mallocs) / uint64(len(sockets))
		}
		first := join(sockets[:more])
		join(sockets[more:many])
		if last := join(sockets[many:]); last > 2*first+100 {
			t.Errorf("one of the first joins allocates %d times, one of the last %d times", first, last)
		}
		close(reading)
		for _, s := range sockets {
			if got := heard(s); got != "joined@9 recovered=true 2+ 3+ 4+ 5+ 6+ 7+ 8+ 9+" {
				t.Fatalf("got %q", got)
			}
		}
	})
}

// TestFeedsAreBounded: all feeds together keep no more than a node may, and who
// comes back still gets everything.
func TestFeedsAreBounded(t *testing.T) {
	const rooms, messages, most = 40, 60, 512 << 10
	kept(t, 200, func(k *keptEnv) {
		k.hub.SetMostKept(most)
		s := k.dialV1("u")
		target := func(i int) address.Target { return channelTarget("acme", fmt.Sprint("room", i)) }
		for i := range rooms {
			s.say(joinFrom(fmt.Sprint("room", i), ""))
		}
		heard(s)
		text := strings.Repeat("x", 1000)
		store := func(room int) *message.Message {
			return k.history.store(target(room), 0, func(_ int, seq uint64) string {
				return fmt.Sprintf(`{"type":"m","text":%q,"data":%d}`, text, seq)
			})
		}
		kept := int64(0)
		for n := range rooms * messages {
			k.hub.Deliver(store(n % rooms))
			kept = max(kept, k.hub.KeptByFeeds())
			s.take()
		}
		if kept < most/2 || kept > most+4096 {
			t.Errorf("the feeds kept %d bytes, want about %d", kept, most)
		}
		again := k.dialV1("w")
		again.say(joinFrom("room7", recoverFrom(1, 0)))
		if got := strings.Fields(heard(again)); len(got) != messages+2 || got[1] != "recovered=true" {
			t.Errorf("got %q", got)
		}
		for i := range rooms {
			s.say(request("leave_channel", fmt.Sprintf(`"channel":"room%d"`, i)))
		}
		again.say(request("leave_channel", `"channel":"room7"`))
		synctest.Wait()
		if left := k.hub.KeptByFeeds(); left != 0 {
			t.Errorf("%d bytes are kept for nobody", left)
		}
	})
}

// TestFeedMemory: a feed without traffic is small.
func TestFeedMemory(t *testing.T) {
	const feeds = 4000
	measure := func(prefix string) (bytes int) {
		t.Run(prefix, func(t *testing.T) { bytes = measureFeeds(t, prefix, feeds) })
		return bytes
	}
	_ = measure("none")
	without, with := measure("none"), measure("kept")
	each := (with - without) / feeds
	t.Logf("%d bytes for each", each)
	if each > 1024 {
		t.Errorf("a feed takes %d bytes", each)
	}
}

// measureFeeds returns the heap of a node whose one client has joined channels,
// of which those that begin with kept have a history.
func measureFeeds(t *testing.T, prefix string, feeds int) int {
	k := newKept(t, 10, func(o *edge.Options) { o.MaxChannelsPerConnection = feeds })
	k.history.keeps = func(t address.Target) bool { return strings.HasPrefix(t.Channel().String(), "kept") }
	s := k.dialPlain("u")
	for i := range feeds {
		s.say(joinFrom(fmt.Sprintf("%s%06d", prefix, i), ""))
		if i%100 == 99 { // the answers must not queue up
			answers := 0
			eventually(t, func() error {
				if answers += len(s.take()); answers < 100 {
					return errors.New("not all joined")
				}
				return nil
			})
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(k)
	return int(m.HeapAlloc)
}

// TestStoredAllocations: what the delivery of a stored message allocates does
// not depend on how many follow.
func TestStoredAllocations(t *testing.T) {
	measure := func(followers int) (allocations float64) {
		t.Run(fmt.Sprint(followers), func(t *testing.T) { allocations = storedAllocations(t, followers) })
		return allocations
	}
	few, many := measure(2), measure(500)
	t.Logf("%g for 2, %g for 500", few, many)
	// What the test itself allocates for each follower is far below.
	if many > few+250 {
		t.Errorf("%g allocations for 2, %g for 500", few, many)
	}
}

func storedAllocations(t *testing.T, followers int) float64 {
	k := newKept(t, 10, func(o *edge.Options) { o.Loops = 1 })
	room := channelTarget("acme", "tenant:acme:room")
	sockets := make([]*recordSocket, followers)
	for i := range sockets {
		sockets[i] = k.open(who{}, v1Field)
		sockets[i].say(joinFrom("tenant:acme:room", ""))
	}
	await := func(n int) {
		for _, s := range sockets {
			got := 0
			eventually(t, func() error {
				if got += s.count(); got < n {
					return errors.New("not there")
				}
				return nil
			})
		}
	}
	await(1)
	const runs = 100
	messages := make([]*message.Message, 0, 2*runs)
	for range cap(messages) {
		messages = append(messages, k.store(room))
	}
	for _, m := range messages[:runs] {
		k.hub.Deliver(m)
	}
	await(runs)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, m := range messages[runs:] {
		k.hub.Deliver(m)
	}
	await(runs)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / runs
}

// TestOnlyTheNewestAreRead: a client that comes back from far behind does not have
// the node read what it would not get.
func TestOnlyTheNewestAreRead(t *testing.T) {
	room := channelTarget("acme", "room")
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 10_000, func(o *edge.Options) { o.OutboundQueueBytes = 4 << 20 })
		k.publish(room, 10_000)
		s := k.dialV1("u")
		s.say(joinFrom("room", recoverFrom(1, 3)))
		expectNewest(t, s, "joined@10000 recovered=false gap(3-9000 overflow) 9001+")
		if reads, _ := k.history.counts(); reads != 4 {
			t.Errorf("%d reads", reads)
		}
	})
}
