package edge_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

// slowFor makes the reads of a tenant wait until the function that it returns is
// called. It counts them.
func (k *keptEnv) slowFor(tenant string) (waiting *atomic.Int64, goOn func()) {
	waiting = new(atomic.Int64)
	gate := make(chan struct{})
	slow := channelTarget(tenant, "room").Tenant()
	k.history.reading = func(t address.Target) {
		if t.Tenant() == slow {
			waiting.Add(1)
			<-gate
			waiting.Add(-1)
		}
	}
	return waiting, sync.OnceFunc(func() { close(gate) })
}

// TestPlacesAreShared: a tenant whose clients ask for all they can leaves places to
// others, for what clients ask for and for what they recover.
func TestPlacesAreShared(t *testing.T) {
	all := func(tenant, user string) who { return who{tenant: tenant, user: user, channels: []string{"**"}} }
	kept(t, 100, func(k *keptEnv) {
		waiting, goOn := k.slowFor("greedy")
		defer goOn()
		refused := 0
		for i := range 40 {
			s := k.open(all("greedy", fmt.Sprint("u", i)), v1Field)
			s.say(request("get_history", `"channel":"room"`))
			if got := heard(s); strings.Contains(got, "unavailable") {
				refused++
			} else if got != "" {
				t.Errorf("got %s", got)
			}
		}
		if waiting.Load() != 16 || refused != 24 {
			t.Errorf("%d wait, %d are refused", waiting.Load(), refused)
		}
		modest := k.open(all("modest", "u"), v1Field)
		modest.say(request("get_history", `"channel":"room"`))
		expectHeard(t, modest, "history")
		goOn()
		synctest.Wait()
		// All places are free again.
		modest.say(request("get_history", `"channel":"room"`))
		expectHeard(t, modest, "history")
	})
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 100, func(o *edge.Options) { o.InboundBurst = 1000 })
		room := channelTarget("modest", "room")
		for i := range 90 {
			k.store(channelTarget("greedy", fmt.Sprint("room", i)))
		}
		k.store(room)
		waiting, goOn := k.slowFor("greedy")
		defer goOn()
		greedy := k.open(all("greedy", "u"), v1Field)
		for i := range 90 {
			greedy.say(joinFrom(fmt.Sprint("room", i), recoverFrom(1, 0)))
		}
		synctest.Wait()
		if waiting.Load() != 16 {
			t.Errorf("%d reads of one tenant", waiting.Load())
		}
		modest := k.open(all("modest", "u"), v1Field)
		modest.say(joinFrom("room", recoverFrom(1, 0)))
		expectHeard(t, modest, "joined@91 recovered=true 91+")
		goOn()
		if got := strings.Count(heard(greedy), "recovered=true"); got != 90 {
			t.Errorf("%d of 90 joins were answered", got)
		}
	})
}

// TestTenantsTakeTurns: what one tenant's clients recover does not wait behind all
// that wait for those of others.
func TestTenantsTakeTurns(t *testing.T) {
	kept(t, 100, func(k *keptEnv) {
		gate := make(chan struct{})
		var modestReads atomic.Int64
		k.history.reading = func(t address.Target) {
			if t == channelTarget("z", "modest") {
				modestReads.Add(1)
				return
			}
			<-gate
		}
		join := func(tenant string, channels int, name string) *recordSocket {
			s := k.open(who{tenant: tenant, user: "u", channels: []string{"**"}}, v1Field)
			for i := range channels {
				channel := fmt.Sprint(name, i)
				if channels == 1 {
					channel = name
				}
				k.store(channelTarget(tenant, channel))
				s.say(joinFrom(channel, recoverFrom(1, 0)))
			}
			synctest.Wait()
			return s
		}
		var sockets []*recordSocket
		for _, tenant := range []string{"a", "b", "c", "d", "e", "f"} { // Together they hold all places.
			sockets = append(sockets, join(tenant, 40, "busy"))
		}
		modest := join("z", 1, "modest")
		if modestReads.Load() != 0 {
			t.Fatal("there was a place left")
		}
		gate <- struct{}{} // One read ends.
		expectHeard(t, modest, "joined@241 recovered=true 241+")
		close(gate)
		for _, s := range sockets {
			if got := strings.Count(heard(s), "recovered=true"); got != 40 {
				t.Errorf("%d of 40 joins were answered", got)
			}
		}
	})
}
