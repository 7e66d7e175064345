package edge_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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

// The model test drives a whole hub: clients of two dialects on three loops
// come, follow, leave and come back from where they were, while live copies
// are lost or late, the history is slow, fails, trims and loses everything,
// and inboxes overflow. Each connection has a checker that knows everything
// that was ever stored.
//
// That it can fail was shown by changing the code by hand, one change at a time.
// Each of these was caught within 32 seeds, most within two:
//   - handOverLocked drops a message now and then, or hands one over twice;
//   - ring.after swaps two, or begins one too late, or five too early;
//   - unholdLocked swaps two, or does not look at what goes before;
//   - takeLocked never holds; what is not beyond the position is handed over;
//   - answerLocked says where the feed began, or three too far;
//   - beginLocked begins 20 too far;
//   - repairLocked does not announce a gap, goes to its goal at once, or takes
//     a page that was cut for all;
//   - anewLocked does not announce the change; standLocked sets no goal;
//   - fillLocked leaves out the newest; trim does not say what it let go;
//   - fitLocked ignores what was seen, or leaves out the oldest without a word;
//   - lateLocked hands over what is late at any time, or never; settleLocked
//     forgets what is owed, oldLocked gives it twice;
//   - startLocked does not wait for what was stored before, or begins before what
//     went straight to the members; missLocked drops what is held;
//   - putLocked or confessLocked forgets what found an inbox full;
//   - receiversLocked asks the directory alone;
//   - fanOutLocked takes all members for followers;
//   - deliver puts after it gave up the table's lock.
var (
	modelSeeds = flag.Int("model.seeds", 8, "seeds of the model test")
	modelFirst = flag.Uint64("model.first", 1, "first seed of the model test")
)

const (
	modelClients  = 12
	modelChannels = 4
	modelUsers    = 3
	modelSteps    = 800
	// modelPatience is how long what came live may take to reach those who don't
	// follow: it may wait for what is before it.
	modelPatience = time.Minute
)

// storedMessage is what the model remembers of what was stored.
type storedMessage struct {
	seq       uint64
	mayExpire bool
}

// liveCopy is a copy of a stored message that came here.
type liveCopy struct {
	place     place
	at        time.Time
	mayExpire bool
	// lost says that the history was lost when it came, or soon after.
	lost bool
}

type model struct {
	t       *testing.T
	rand    *rand.Rand
	env     *env
	history *fakeHistory
	ln      *chanListener
	lanes   map[string]*lane
	clients []*modelClient
	// log is all that was ever stored, by target and epoch.
	mu  sync.Mutex
	log map[string]map[int][]storedMessage
	// came are the live copies that were handed to the hub, by target, in order.
	came map[string][]liveCopy
	// roomy says that inboxes don't overflow. Else those who don't follow may
	// lose something without a word.
	roomy bool
	now   int // the epoch
	calm  bool
	fails bool
	// dice are thrown by lanes and the history too.
	dice *rand.Rand
	// seen counts what happened, over all seeds.
	seen map[string]int
}

// see counts that something happened.
func (m *model) see(what string) { m.seen[what]++ }

func (m *model) stored(target string, epoch int) []storedMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log[target][epoch]
}

// noteCame notes that c is handed to the hub now.
func (m *model) noteCame(name string, c *message.Message) {
	if c.Position.IsZero() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := place{epochNumber(c.Position.Epoch), c.Position.Offset}
	m.came[name] = append(m.came[name], liveCopy{at, time.Now(), !c.Deadline.IsZero(), at.epoch != m.now})
}

// excuseLocked notes that what came lately may not reach those who don't follow:
// the history is lost.
func (m *model) excuseLocked() {
	for _, came := range m.came {
		for i := len(came) - 1; i >= 0 && time.Since(came[i].at) < modelPatience; i-- {
			came[i].lost = true
		}
	}
}

// newest returns the place of the message that was stored last.
func (m *model) newest() place {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history.mu.Lock()
	defer m.history.mu.Unlock()
	return place{m.now, m.history.seq}
}

// cameFor returns the copies that came for a target, up to so long ago.
func (m *model) cameFor(name string, ago time.Duration) []liveCopy {
	m.mu.Lock()
	defer m.mu.Unlock()
	came := m.came[name]
	n := len(came)
	for n > 0 && time.Since(came[n-1].at) < ago {
		n--
	}
	return slices.Clone(came[:n])
}

func (m *model) epoch() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// roll returns whether one of n sides came up. Nothing does in a calm.
func (m *model) roll(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.calm && m.dice.IntN(n) == 0
}

func (m *model) upTo(d time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.dice.Int64N(int64(d)))
}

// lane carries the live copies of one target, in order.
type lane struct {
	copies  chan *message.Message
	running sync.WaitGroup
}

func (m *model) newLane(name string) *lane {
	target := modelTarget(name)
	l := &lane{copies: make(chan *message.Message, 1<<16)}
	l.running.Go(func() { // closing copies ends it
		for c := range l.copies {
			switch {
			case m.roll(200):
				pass(m.upTo(2 * time.Second))
			case m.roll(4):
				pass(m.upTo(2 * time.Millisecond))
			}
			if m.env.bus.count(target) == 0 {
				continue // nobody here has asked for it
			}
			if m.roll(12) {
				if m.roll(2) {
					m.env.hub.Doubt(c.Target)
				}
				continue
			}
			m.noteCame(name, c)
			m.env.hub.Deliver(c)
		}
	})
	return l
}

// modelClient is one client: a connection at a time, and what it knows when
// it comes back.
type modelClient struct {
	v1     bool
	user   string
	socket *recordSocket
	check  *checker
	next   int
	// left are the positions of connections before this one.
	left map[string]place
}

// TestFeedModel: no connection that follows misses anything without a gap,
// gets anything twice or out of order, or hears of what is not its own.
func TestFeedModel(t *testing.T) {
	seeds, seen := *modelSeeds, make(map[string]int)
	if testing.Short() {
		seeds = min(seeds, 4)
	}
	for seed := *modelFirst; seed < *modelFirst+uint64(seeds); seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { runModel(t, seed, seen) }) }) {
			return
		}
	}
	t.Log(seen)
	if seeds < 20 {
		return
	}
	// What never happened was not tested.
	for _, what := range []string{
		"recovered", "recovered with a replay", "joined", "joined again", "left", "closed", "followed after early ones", "late", "not available",
		"not recovered: trimmed", "not recovered: overflow", "not recovered: epoch_changed",
		"gap: trimmed", "gap: overflow", "gap: epoch_changed",
	} {
		if seen[what] == 0 {
			t.Errorf("never seen: %s", what)
		}
	}
}

func runModel(t *testing.T, seed uint64, seen map[string]int) {
	m := &model{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2)),
		history: newFakeHistory(25), lanes: make(map[string]*lane), now: 1, seen: seen,
		log: make(map[string]map[int][]storedMessage), ln: newChanListener(),
		came: make(map[string][]liveCopy), roomy: seed%2 == 0,
	}
	m.history.cut = 1 + m.rand.IntN(30)
	m.history.stale = func() bool { return m.roll(2) }
	m.history.before = func() error {
		m.mu.Lock()
		fails := m.fails
		m.mu.Unlock()
		if m.roll(3) {
			pass(m.upTo(20 * time.Millisecond))
		}
		if m.roll(50) {
			pass(m.upTo(time.Second))
		}
		if fails || m.roll(20) {
			return errors.New("the history is away")
		}
		return nil
	}
	m.env = newKeepingEnv(t, m.history, func(o *edge.Options) {
		o.Loops = 3
		o.OutboundQueueBytes = 24 << 10
		o.PingInterval, o.IdleTimeout = 100*time.Hour, 200*time.Hour
		o.Lingers = []edge.Linger{{Channels: must(address.ParsePattern("c1")), Delay: 5 * time.Millisecond}}
		o.NewDriver = func(l sync.Locker) (poll.Driver, error) { return &recordDriver{lock: l}, nil }
	})
	if !m.roomy {
		m.env.hub.SetInboxDepth(24)
	}
	m.env.serve(t, m.ln)
	m.env.bus.set(func(b *fakeBus) {
		b.hold = func(t address.Target) bool { return t.Kind() == address.KindChannel && m.roll(3) }
	})
	for _, name := range m.targets() {
		m.lanes[name] = m.newLane(name)
		m.log[name] = make(map[int][]storedMessage)
	}
	for i := range modelClients {
		m.clients = append(m.clients, &modelClient{
			v1: i%4 != 0, user: fmt.Sprintf("u%d", i%modelUsers), left: make(map[string]place),
		})
	}
	defer m.stop()
	for range modelSteps {
		m.step()
		if t.Failed() {
			return
		}
	}
	m.finish()
}

func (m *model) targets() []string {
	var names []string
	for i := range modelChannels {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	for i := range modelUsers {
		names = append(names, fmt.Sprintf("u%d", i))
	}
	return names
}

func (m *model) stop() {
	m.env.bus.settle(nil)
	for _, c := range m.clients {
		m.leave(c)
	}
	for _, l := range m.lanes {
		close(l.copies)
		l.running.Wait()
	}
}

func (m *model) step() {
	switch n := m.rand.IntN(100); {
	case n < 50:
		m.request(m.clients[m.rand.IntN(len(m.clients))])
	case n < 81:
		for range 1 + m.rand.IntN(8) {
			m.publish(m.targets()[m.rand.IntN(modelChannels+modelUsers)])
		}
	case n < 83:
		for range 40 {
			m.publish(m.targets()[m.rand.IntN(modelChannels)])
		}
	case n < 89:
		m.env.bus.mu.Lock()
		held := m.env.bus.held
		m.env.bus.held = nil
		m.env.bus.mu.Unlock()
		for _, w := range held {
			w.ready(nil)
		}
	case n < 90:
		m.mu.Lock()
		m.fails = m.rand.IntN(3) == 0
		m.mu.Unlock()
	case n < 91:
		if m.rand.IntN(4) == 0 {
			m.mu.Lock()
			m.now++
			m.excuseLocked()
			m.history.anew(uint64(m.rand.IntN(50)))
			m.mu.Unlock()
			m.env.hub.Doubt(address.Target{})
		}
	case n < 92:
		pass(time.Duration(m.rand.IntN(15_000)) * time.Millisecond)
	case n < 95:
		pass(time.Duration(m.rand.IntN(30)) * time.Millisecond)
	default:
		m.leave(m.clients[m.rand.IntN(len(m.clients))])
	}
	m.judge()
}

func (m *model) publish(name string) {
	target := modelTarget(name)
	pad := strings.Repeat("x", m.rand.IntN(1500))
	if m.rand.IntN(10) == 0 {
		m.lanes[name].copies <- &message.Message{
			ID: message.NewID(), Target: target, Payload: fmt.Appendf(nil, `{"type":"m","data":{"to":%q,"e":0,"n":0}}`, name),
		}
		return
	}
	ttl := time.Duration(0)
	if m.rand.IntN(20) == 0 {
		ttl = time.Duration(1+m.rand.IntN(1000)) * time.Millisecond
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	live := m.history.store(target, ttl, func(epoch int, seq uint64) string {
		m.log[name][epoch] = append(m.log[name][epoch], storedMessage{seq, ttl > 0})
		return fmt.Sprintf(`{"type":"m","data":{"to":%q,"e":%d,"n":%d,"pad":%q}}`, name, epoch, seq, pad)
	})
	m.lanes[name].copies <- live
}

// request has c do something.
func (m *model) request(c *modelClient) {
	if c.socket == nil {
		m.connect(c)
		return
	}
	channel := fmt.Sprintf("c%d", m.rand.IntN(modelChannels))
	switch n := m.rand.IntN(10); {
	case n < 5:
		if c.pending(channel) {
			return
		}
		m.ask(c, "join_channel", channel, c.position(channel, m.rand))
	case n < 7:
		m.ask(c, "leave_channel", channel, nil)
	default:
		if c.pending(c.user) {
			return
		}
		m.ask(c, "subscribe_notifications", c.user, c.position(c.user, m.rand))
	}
}

// pending reports whether c has asked for target and waits. Where it stands is
// not known then.
func (c *modelClient) pending(target string) bool {
	for _, a := range c.check.asked {
		if a.target == target {
			return true
		}
	}
	return false
}

// position returns where c asks to go on, if it does.
func (c *modelClient) position(target string, r *rand.Rand) *place {
	v := c.check.view(target)
	if v.follows || !c.v1 {
		return nil // it would get again what is on its way
	}
	at := v.at
	if at.epoch == 0 {
		at = c.left[target]
	}
	if at.epoch == 0 || r.IntN(5) == 0 {
		return nil
	}
	return &at
}

func (m *model) ask(c *modelClient, kind, target string, from *place) {
	c.next++
	id := fmt.Sprint(c.next)
	c.check.asked[id] = asked{kind, target, from}
	data := `"types":["all"]`
	if kind != "subscribe_notifications" {
		data = `"channel":` + quote(target)
	}
	if from != nil {
		data += fmt.Sprintf(`,"recover":{"epoch":%q,"offset":"%d"}`, epochName(from.epoch), from.seq)
	}
	c.socket.say(fmt.Sprintf(`{"type":%q,"id":%q,"data":{%s}}`, kind, id, data))
}

func (m *model) connect(c *modelClient) {
	w := who{tenant: "acme", user: c.user, channels: []string{"c0", "c1", "c2", "c3"}}
	w.expires = time.Now().Add(1000 * time.Hour)
	var fields []string
	if c.v1 {
		fields = append(fields, v1Field)
	}
	nc := newRecordConn(rawHead("/ws", token(m.t, w), fields...))
	m.ln.put(nc)
	select {
	case c.socket = <-nc.attached:
		c.check = newChecker(m, c.v1, c.user)
	case <-time.After(time.Second):
		m.t.Error("not attached")
	}
}

// leave cuts the connection of c, after which it remembers where it was.
func (m *model) leave(c *modelClient) {
	if c.socket == nil {
		return
	}
	m.judgeOne(c)
	if !c.check.ended && !m.t.Failed() {
		if err := c.check.owed(modelPatience); err != nil {
			m.t.Errorf("client of %s, v1 %v, when it left: %v\n%s", c.user, c.v1, err, strings.Join(c.check.trace, "\n"))
		}
	}
	for target, v := range c.check.views {
		if v.at.epoch > 0 {
			c.left[target] = v.at
		}
	}
	c.socket.Close()
	c.socket = nil
}

func (m *model) judge() {
	for _, c := range m.clients {
		m.judgeOne(c)
		if c.socket != nil && c.check.ended {
			m.leave(c)
		}
	}
}

func (m *model) judgeOne(c *modelClient) {
	if c.socket == nil || c.check.ended || m.t.Failed() {
		return
	}
	for _, text := range c.socket.take() {
		if err := c.check.take(text); err != nil {
			m.t.Errorf("client of %s, v1 %v: %v\n%s", c.user, c.v1, err, strings.Join(c.check.trace, "\n"))
			return
		}
		if c.check.ended {
			return
		}
	}
}

// finish lets everything come to rest, and then wants all to have come.
func (m *model) finish() {
	m.mu.Lock()
	m.calm, m.fails = true, false
	m.mu.Unlock()
	m.env.bus.settle(nil)
	pass(2 * time.Minute)
	synctest.Wait()
	m.judge()
	for _, c := range m.clients {
		if c.socket == nil || c.check.ended || m.t.Failed() {
			continue
		}
		err := c.check.end()
		if err == nil {
			err = c.check.owed(0)
		}
		if err != nil {
			m.t.Errorf("client of %s, v1 %v, follows %v: %v", c.user, c.v1, slices.Collect(maps.Keys(c.check.views)), err)
		}
	}
}
