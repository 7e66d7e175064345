package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/internal/message"
)

// keptEnv is a server in memory with a history.
type keptEnv struct {
	*env

	t       testing.TB
	history *fakeHistory
	ln      *chanListener
}

func newKept(t testing.TB, limit int, change tweak) *keptEnv {
	t.Helper()
	h := newFakeHistory(limit)
	e := newKeepingEnv(t, h, func(o *edge.Options) {
		o.PingInterval, o.IdleTimeout = 100*time.Hour, 200*time.Hour
		o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return &recordDriver{lock: l}, nil }
		if change != nil {
			change(o)
		}
	})
	k := &keptEnv{env: e, t: t, history: h, ln: newChanListener()}
	e.serve(t, k.ln)
	return k
}

// kept runs a test in a time of its own.
func kept(t *testing.T, limit int, run func(*keptEnv)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(newKept(t, limit, nil)) })
}

// v1Field asks for the dialect that knows of offsets.
const v1Field = "Sec-WebSocket-Protocol: " + jsonDialect

// open connects; what the server says first is thrown away. fields go into the
// head.
func (k *keptEnv) open(w who, fields ...string) *recordSocket {
	k.t.Helper()
	nc := newRecordConn(rawHead("/ws", token(k.t, w), fields...))
	k.ln.put(nc)
	s := <-nc.attached
	eventually(k.t, func() error {
		if len(s.take()) == 0 {
			return errors.New("not open")
		}
		return nil
	})
	return s
}

// dialV1 connects a client that knows of offsets.
func (k *keptEnv) dialV1(user string) *recordSocket {
	return k.open(who{user: user, channels: []string{"**"}}, v1Field)
}

func (k *keptEnv) dialPlain(user string) *recordSocket {
	return k.open(who{user: user, channels: []string{"**"}})
}

// store stores a message that only says which it is.
func (k *keptEnv) store(t address.Target) *message.Message {
	return k.history.store(t, 0, func(_ int, seq uint64) string { return fmt.Sprintf(`{"type":"m","data":%d}`, seq) })
}

// failReads returns what sets the error with which the history fails; nil: it does
// not.
func (k *keptEnv) failReads() (set func(error)) {
	var mu sync.Mutex
	var away error
	k.history.before = func() error {
		mu.Lock()
		defer mu.Unlock()
		return away
	}
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		away = err
	}
}

// publish waits for rest, stores messages and delivers them.
func (k *keptEnv) publish(t address.Target, n int) {
	synctest.Wait()
	for range n {
		k.hub.Deliver(k.store(t))
	}
}

func joinFrom(channel, from string) string {
	return request("join_channel", `"channel":`+quote(channel)+from)
}

func recoverFrom(epoch int, offset uint64) string {
	return fmt.Sprintf(`,"recover":{"epoch":%q,"offset":"%d"}`, epochName(epoch), offset)
}

// heard waits for rest and returns what came, in short: a message as its number
// and +offset, an answer as offset, recovered and gap.
func heard(s *recordSocket) string {
	synctest.Wait()
	var out []string
	for _, text := range s.take() {
		var m struct {
			Type   string
			Offset string
			Data   json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return text
		}
		var d struct {
			Offset    string
			Recovered *bool
			Gap       *saidGap
			From, To  string
			Reason    string
			Code      string
		}
		short := string(m.Data)
		if m.Type != "m" {
			_ = json.Unmarshal(m.Data, &d)
			short = m.Type
			switch m.Type {
			case "gap":
				short = fmt.Sprintf("gap(%s-%s %s)", d.From, d.To, d.Reason)
			case "error":
				short = d.Code
			case "channel_joined", "notifications_subscribed":
				short = "joined@" + d.Offset
				if d.Recovered != nil {
					short += fmt.Sprintf(" recovered=%v", *d.Recovered)
				}
				if g := d.Gap; g != nil {
					short += fmt.Sprintf(" gap(%s-%s %s)", g.From, g.To, g.Reason)
				}
			}
		}
		if m.Offset != "" {
			short += "+"
		}
		out = append(out, short)
	}
	return strings.Join(out, " ")
}

func expectHeard(t testing.TB, s *recordSocket, want string) {
	t.Helper()
	if got := heard(s); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestRecovery: what a client is told and gets when it comes back.
func TestRecovery(t *testing.T) {
	room := channelTarget("acme", "room")
	for name, c := range map[string]struct {
		limit   int
		ring    bool // the feed has the messages
		recover string
		want    string
		reads   int
	}{
		"not asked":              {100, false, "", "joined@9", 0},
		"nothing missed":         {100, false, recoverFrom(1, 9), "joined@9 recovered=true", 0},
		"from the ring":          {100, true, recoverFrom(1, 7), "joined@9 recovered=true 8+ 9+", 0},
		"from the history":       {100, false, recoverFrom(1, 6), "joined@9 recovered=true 7+ 8+ 9+", 1},
		"all":                    {100, false, recoverFrom(1, 0), "joined@9 recovered=true 1+ 2+ 3+ 4+ 5+ 6+ 7+ 8+ 9+", 1},
		"trimmed":                {3, false, recoverFrom(1, 2), "joined@9 recovered=false gap(2-6 trimmed) 7+ 8+ 9+", 1},
		"just not trimmed":       {3, false, recoverFrom(1, 6), "joined@9 recovered=true 7+ 8+ 9+", 1},
		"another epoch":          {100, false, recoverFrom(7, 5), "joined@9 recovered=false gap(5-9 epoch_changed)", 0},
		"from what never was":    {100, false, recoverFrom(1, 99), "joined@9 recovered=false gap(99-9 epoch_changed)", 0},
		"another epoch, further": {100, true, recoverFrom(7, 99), "joined@9 recovered=false gap(99-9 epoch_changed)", 0},
	} {
		t.Run(name, func(t *testing.T) {
			kept(t, c.limit, func(k *keptEnv) {
				if c.ring {
					k.dialV1("other").say(joinFrom("room", ""))
					synctest.Wait()
				}
				k.publish(room, 9)
				s := k.dialV1("u")
				s.say(joinFrom("room", c.recover))
				pass(2 * time.Second) // A leader may be behind: one is not denied at once.
				expectHeard(t, s, c.want)
				if reads, _ := k.history.counts(); reads != c.reads {
					t.Errorf("%d reads, want %d", reads, c.reads)
				}
				k.publish(room, 1)
				expectHeard(t, s, "10+")
			})
		})
	}
}

// TestClientAhead: a client has seen more than this node, which catches up
// before it lets the client in.
func TestClientAhead(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 100, func(k *keptEnv) {
		first := k.dialPlain("other")
		first.say(joinFrom("room", ""))
		k.publish(room, 2)
		k.store(room)
		late := k.store(room)
		s := k.dialV1("u")
		s.say(joinFrom("room", recoverFrom(1, 4)))
		expectHeard(t, s, "joined@4 recovered=true")
		expectHeard(t, first, "joined@ 1 2 3 4")
		k.hub.Deliver(late)
		k.publish(room, 1)
		expectHeard(t, s, "5+")
		expectHeard(t, first, "5")
	})
}

// TestLostCopy: what is missing is read, at once when something follows, and by
// a doubt or the sweep when nothing does.
func TestLostCopy(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 100, func(k *keptEnv) {
		s := k.dialV1("u")
		s.say(joinFrom("room", ""))
		expectHeard(t, s, "joined@0")
		k.store(room)
		k.publish(room, 1)
		expectHeard(t, s, "1+ 2+")

		k.store(room)
		k.hub.Doubt(channelTarget("acme", "elsewhere"))
		expectHeard(t, s, "")
		k.hub.Doubt(room)
		expectHeard(t, s, "3+")

		copied := k.store(room)
		k.hub.Doubt(address.Target{})
		expectHeard(t, s, "4+")
		k.hub.Deliver(copied)
		expectHeard(t, s, "")

		k.store(room)
		began := time.Now()
		for heard(s) == "" && time.Since(began) < time.Hour {
			pass(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 32*time.Second {
			t.Errorf("the sweep took %s", took)
		}
	})
}

// TestSweepTime: nothing is asked before a sweep is due.
func TestSweepTime(t *testing.T) {
	kept(t, 100, func(k *keptEnv) {
		s := k.dialV1("u")
		for i := range 1001 {
			s.say(joinFrom(fmt.Sprint("room", i%100), ""))
		}
		synctest.Wait()
		_, before := k.history.counts()
		pass(20 * time.Second)
		synctest.Wait()
		if _, now := k.history.counts(); now != before {
			t.Errorf("%d questions before the sweep", now-before)
		}
		pass(13 * time.Second)
		synctest.Wait()
		if _, now := k.history.counts(); now != before+1 {
			t.Errorf("%d questions for 100 feeds, want 1", now-before)
		}
	})
}

// TestSweepOfEmptyTargets: targets without messages are not read with each
// sweep, and the one that got the newest message of all is, in time.
func TestSweepOfEmptyTargets(t *testing.T) {
	kept(t, 100, func(k *keptEnv) {
		s := k.dialV1("u")
		for i := range 50 {
			s.say(joinFrom(fmt.Sprint("room", i), ""))
		}
		heard(s)
		for range 15 { // more often than sweeps
			k.store(channelTarget("acme", "elsewhere"))
			pass(10 * time.Second)
		}
		if reads, _ := k.history.counts(); reads > 0 {
			t.Errorf("%d reads", reads)
		}
		lost := k.store(channelTarget("acme", "room7"))
		pass(100 * time.Second)
		expectHeard(t, s, fmt.Sprintf("%d+", lost.Position.Offset))
		reads, _ := k.history.counts()
		pass(5 * time.Minute)
		if now, _ := k.history.counts(); now != reads {
			t.Errorf("%d reads while nothing was stored", now-reads)
		}
	})
}

// TestHistoryAway: a join waits for the history, for a while, and messages wait
// for what is missing before them, for a while.
func TestHistoryAway(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 100, func(k *keptEnv) {
		set := k.failReads()
		set(errors.New("away"))
		s := k.dialV1("u")
		s.say(joinFrom("room", ""))
		s.say(request("leave_channel", `"channel":"room"`))
		expectHeard(t, s, "")
		pass(6 * time.Second)
		expectHeard(t, s, "unavailable channel_left")

		s.say(joinFrom("room", ""))
		pass(time.Second)
		set(nil)
		pass(time.Second)
		expectHeard(t, s, "joined@0")

		set(errors.New("away"))
		k.store(room)
		k.publish(room, 1)
		pass(8 * time.Second)
		expectHeard(t, s, "")
		pass(4 * time.Second)
		expectHeard(t, s, "gap(0-1 overflow) 2+")
		set(nil)
		pass(time.Minute)
		k.publish(room, 1)
		expectHeard(t, s, "3+")
		set(errors.New("away"))
		k.dialV1("w").say(joinFrom("other", "")) // waits at the end
	})
}

// TestEpochChange: who follows is told once, and goes on in the new one.
func TestEpochChange(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 100, func(k *keptEnv) {
		s, plain := k.dialV1("u"), k.dialPlain("u")
		s.say(joinFrom("room", ""))
		plain.say(joinFrom("room", ""))
		k.publish(room, 5)
		expectHeard(t, s, "joined@0 1+ 2+ 3+ 4+ 5+")
		k.history.anew(1)
		k.publish(room, 2)
		expectHeard(t, s, "gap(5-1 epoch_changed) 2+ 3+")
		k.history.anew(7)
		k.hub.Doubt(address.Target{})
		expectHeard(t, s, "gap(3-7 epoch_changed)")
		k.publish(room, 1)
		expectHeard(t, s, "8+")
		expectHeard(t, plain, "joined@ 1 2 3 4 5 2 3 8")
	})
}

// TestInbox: notifications come to all connections of a user, with offsets to
// those who follow.
func TestInbox(t *testing.T) {
	inbox := userTarget("acme", "u")
	subscribe := func(types, from string) string {
		return request("subscribe_notifications", `"types":[`+types+`]`+from)
	}
	kept(t, 1000, func(k *keptEnv) {
		s, plain := k.dialV1("u"), k.dialPlain("u")
		k.publish(inbox, 2)
		expectHeard(t, s, "1 2")
		lost, late := k.store(inbox), k.store(inbox)
		s.say(subscribe(`"all"`, recoverFrom(1, 0)))
		// What it had it does not get again.
		expectHeard(t, s, "joined@4 recovered=true 3+ 4+")
		k.hub.Deliver(late)
		expectHeard(t, s, "")
		k.hub.Deliver(lost) // it comes after a later one, which was late
		expectHeard(t, plain, "1 2 4")
		k.publish(inbox, 1)
		expectHeard(t, s, "5+")
		expectHeard(t, plain, "5")

		// Asked for nothing older, so that what is on its way still comes.
		w := k.dialV1("w")
		copied := k.store(userTarget("acme", "w"))
		w.say(subscribe(`"all"`, ""))
		expectHeard(t, w, "joined@6")
		k.hub.Deliver(copied)
		k.publish(userTarget("acme", "w"), 1)
		expectHeard(t, w, "6 7+")
	})
	kept(t, 1000, func(k *keptEnv) {
		k.publish(inbox, 1)
		s := k.dialV1("u")
		k.publish(inbox, 300)
		heard(s)
		s.say(subscribe(`"all"`, recoverFrom(1, 1)))
		expectHeard(t, s, "joined@301 recovered=false gap(1-301 overflow)")
		k.publish(inbox, 1)
		expectHeard(t, s, "302+")
	})
	kept(t, 1000, func(k *keptEnv) {
		typed := func(kind string) *message.Message {
			return k.history.storeTyped(inbox, kind, func(_ int, seq uint64) string { return fmt.Sprintf(`{"type":"m","data":%d}`, seq) })
		}
		k.publish(inbox, 1)
		typed("a")
		typed("b")
		s := k.dialV1("u")
		s.say(subscribe(`"a"`, recoverFrom(1, 0)))
		expectHeard(t, s, "joined@3 recovered=true 1+ 2+")
		k.hub.Deliver(typed("b"))
		k.hub.Deliver(typed("a"))
		expectHeard(t, s, "5+")
	})
}

// expectNewest checks that a client hears the first words, of which the last is a
// message, and 1000 messages in all.
func expectNewest(t *testing.T, s *recordSocket, first string) {
	t.Helper()
	got := strings.Fields(heard(s))
	if strings.Join(got[:min(5, len(got))], " ") != first || len(got) != 4+1000 {
		t.Errorf("%d words, %v", len(got), got[:min(5, len(got))])
	}
}

// TestReplayIsBounded: who has missed more than a connection can take gets the
// newest, and is told.
func TestReplayIsBounded(t *testing.T) {
	room := channelTarget("acme", "room")
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 10_000, func(o *edge.Options) { o.OutboundQueueBytes = 4 << 20 })
		k.publish(room, 2500)
		s := k.dialV1("u")
		s.say(joinFrom("room", recoverFrom(1, 3)))
		expectNewest(t, s, "joined@2500 recovered=false gap(3-1500 overflow) 1501+")
	})
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 100, func(o *edge.Options) { o.OutboundQueueBytes = 10_000 })
		pad := strings.Repeat("x", 1200)
		for range 9 {
			k.history.store(room, 0, func(_ int, seq uint64) string { return fmt.Sprintf(`{"type":"m","data":%d,"pad":%q}`, seq, pad) })
		}
		s := k.dialV1("u")
		s.say(joinFrom("room", recoverFrom(1, 0)))
		expectHeard(t, s, "joined@9 recovered=false gap(0-6 overflow) 7+ 8+ 9+")
	})
}

// TestJoinAgain: a member is answered again with where it is now, and gets what
// it asks for.
func TestJoinAgain(t *testing.T) {
	room := channelTarget("acme", "room")
	kept(t, 100, func(k *keptEnv) {
		s := k.dialV1("u")
		s.say(joinFrom("room", ""))
		k.publish(room, 2)
		s.say(joinFrom("room", ""))
		s.say(joinFrom("room", recoverFrom(1, 1)))
		k.publish(room, 1)
		expectHeard(t, s, "joined@0 1+ 2+ joined@2 "+"joined@2 recovered=true 2+ 3+")
		s.say(request("leave_channel", `"channel":"room"`))
		k.publish(room, 1)
		expectHeard(t, s, "channel_left")
		s.say(joinFrom("room", recoverFrom(1, 3)))
		expectHeard(t, s, "joined@4 recovered=true 4+")
	})
}

// TestInboxOfLoopOverflows: what found the inbox full is told of, with what
// comes next or soon.
func TestInboxOfLoopOverflows(t *testing.T) {
	room := channelTarget("acme", "room")
	synctest.Test(t, func(t *testing.T) {
		k := newKept(t, 100, func(o *edge.Options) {
			o.Lingers = []edge.Linger{{Channels: must(address.ParsePattern("room")), Delay: 5 * time.Millisecond}}
		})
		k.hub.SetInboxDepth(3)
		s, plain := k.dialV1("u"), k.dialPlain("u")
		s.say(joinFrom("room", ""))
		plain.say(joinFrom("room", ""))
		expectHeard(t, s, "joined@0")
		k.publish(room, 5)
		pass(10 * time.Millisecond)
		expectHeard(t, s, "1+ 2+ 3+")
		k.publish(room, 1)
		pass(10 * time.Millisecond)
		expectHeard(t, s, "gap(3-5 overflow) 6+")
		k.publish(room, 4)
		pass(time.Second)
		expectHeard(t, s, "7+ 8+ 9+ gap(9-10 overflow)")
		expectHeard(t, plain, "joined@ 1 2 3 6 7 8 9")
	})
}

// TestOffsetsWithoutFeed: what is stored although no rule keeps it has an
// offset. Where a rule keeps it, only those who follow see one.
func TestOffsetsWithoutFeed(t *testing.T) {
	once, types := channelTarget("acme", "room"), channelTarget("acme", "notifications:acme:u:x")
	kept(t, 100, func(k *keptEnv) {
		k.history.keeps = func(t address.Target) bool { return t != once && t.Kind() == address.KindChannel }
		s := k.dialV1("u")
		s.say(joinFrom("room", ""))
		s.say(request("subscribe_notifications", `"types":["x"]`))
		heard(s)
		k.publish(once, 1)
		k.publish(types, 1)
		expectHeard(t, s, "1+ 2")
		s.say(joinFrom("notifications:acme:u:x", ""))
		heard(s)
		k.publish(types, 1)
		expectHeard(t, s, "3+")
	})
}

// TestIdleFeed: a feed that nobody follows goes on for a while where others are
// members: what was read for them may still come live.
func TestIdleFeed(t *testing.T) {
	inbox := userTarget("acme", "u")
	kept(t, 100, func(k *keptEnv) {
		plain, s := k.dialPlain("u"), k.dialV1("u")
		s.say(request("subscribe_notifications", `"types":["all"]`))
		expectHeard(t, s, "joined@0")
		copied := k.store(inbox)
		k.hub.Doubt(inbox)
		expectHeard(t, plain, "1")
		s.Close()
		synctest.Wait()
		k.hub.Deliver(copied)
		expectHeard(t, plain, "")
		pass(11 * time.Second)
		_, before := k.history.counts()
		k.hub.Doubt(inbox)
		k.publish(inbox, 1)
		expectHeard(t, plain, "2")
		if _, now := k.history.counts(); now != before {
			t.Error("the feed has not ended")
		}
	})
}

// pass lets some of the time of a synctest bubble go by.
func pass(d time.Duration) { <-time.After(d) }
