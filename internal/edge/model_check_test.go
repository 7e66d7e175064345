package edge_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// place is a place in the model's log.
type place struct {
	epoch int
	seq   uint64
}

func (p place) before(o place) bool {
	return p.epoch < o.epoch || p.epoch == o.epoch && p.seq < o.seq
}

// said is any message to a client of the model.
type said struct {
	Type string
	ID   string
	// Offset stands beside the data of a stored message.
	Offset *string
	Data   struct {
		Channel, Error, Code string
		// To is the target of a stored message, by name, E and N its place.
		To string
		E  int
		N  uint64

		Epoch, Offset string
		Recovered     *bool
		Gap           *saidGap
		From, Reason  string
		GapTo         string `json:"to_"`
	}
}

type saidGap struct{ From, To, Reason string }

// view is what a connection must know of one target.
type view struct {
	// member says that messages may come; follows that they come with offsets.
	member, follows bool
	// unasked says that it follows without having asked for what is older than
	// start.
	unasked bool
	start   place
	// at is the position; epoch 0: it is not known.
	at place
	// newest is the newest message that came, and bare the newest without an
	// offset.
	newest, bare place
	// early are the messages that came before it followed.
	early map[place]bool
	// got are all that came. What was stored after since and came live must be
	// among them; only of the own inbox, of which one is a member without following
	// it. Epoch 0: it was not told that it is open.
	got   map[place]bool
	since place
}

// asked is a request that waits for its answer.
type asked struct {
	kind, target string
	recover      *place
}

// checker judges what one connection gets.
type checker struct {
	model *model
	v1    bool
	user  string
	views map[string]*view
	asked map[string]asked
	ended bool
	// trace is what came, for who looks into a fault.
	trace []string
}

func newChecker(m *model, v1 bool, user string) *checker {
	c := &checker{model: m, v1: v1, user: user, views: make(map[string]*view), asked: make(map[string]asked)}
	c.view(user).member = true
	return c
}

func (c *checker) view(target string) *view {
	v := c.views[target]
	if v == nil {
		v = &view{early: make(map[place]bool), got: make(map[place]bool)}
		c.views[target] = v
	}
	return v
}

// take judges one message. An error is a fault of the server.
func (c *checker) take(text string) error {
	var m said
	c.trace = append(c.trace, strings.ReplaceAll(text, "x", ""))
	// The data of a gap names its end as a stored message names its target.
	if strings.HasPrefix(text, `{"type":"gap"`) {
		text = strings.Replace(text, `"to":`, `"to_":`, 1)
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil && !strings.Contains(text, `"closed"`) {
		return fmt.Errorf("%s: %w", text, err)
	}
	switch m.Type {
	case "connection":
		c.excuse(c.user)
		return nil
	case "error":
		delete(c.asked, m.ID)
		if m.Data.Code != "unavailable" {
			return fmt.Errorf("%s", text)
		}
		c.model.see("not available")
		return nil
	case "closed":
		c.ended = true
		c.model.see("closed")
		return nil
	case "m":
		return wrap(c.message(&m), text)
	case "gap":
		target := m.Data.Channel
		if target == "" {
			target = c.user
		}
		return wrap(c.gap(c.view(target), target, saidGap{m.Data.From, m.Data.GapTo, m.Data.Reason}), text)
	case "channel_left":
		a := c.asked[m.ID]
		delete(c.asked, m.ID)
		if c.view(a.target).member {
			c.model.see("left")
		}
		*c.view(a.target) = view{early: make(map[place]bool), got: make(map[place]bool), at: c.view(a.target).at}
		return nil
	case "channel_joined", "notifications_subscribed":
		a := c.asked[m.ID]
		delete(c.asked, m.ID)
		return wrap(c.joined(a, &m), text)
	default:
		return fmt.Errorf("unexpected %s", text)
	}
}

func wrap(err error, text string) error {
	if err != nil && len(text) > 300 {
		text = text[:200] + "…" + text[len(text)-50:]
	}
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

func (c *checker) joined(a asked, m *said) error {
	v := c.view(a.target)
	was := *v
	v.member = true
	if !c.v1 {
		return nil
	}
	offset, err := strconv.ParseUint(m.Data.Offset, 10, 64)
	if err != nil {
		return err
	}
	at := place{epochNumber(m.Data.Epoch), offset}
	v.follows = true
	if !was.follows && len(was.early) > 0 {
		c.model.see("followed after early ones")
	}
	if a.recover == nil {
		c.model.see(map[bool]string{false: "joined", true: "joined again"}[was.follows])
		if m.Data.Recovered != nil || m.Data.Gap != nil {
			return fmt.Errorf("was not asked to recover")
		}
		if was.follows && was.at.epoch == at.epoch && was.at.seq < at.seq {
			// It has followed all along: the answer must not skip anything.
			if err := c.complete(a.target, v, at.epoch, at.seq+1); err != nil {
				return err
			}
		}
		if !was.follows {
			v.start, v.unasked = at, true
		}
		v.at = at
		return nil
	}
	if m.Data.Recovered == nil {
		return fmt.Errorf("does not say whether it recovered")
	}
	v.start, v.unasked = place{}, false
	c.excuse(a.target) // it says itself what it has
	if *m.Data.Recovered {
		if m.Data.Gap != nil || a.recover.epoch != at.epoch {
			return fmt.Errorf("recovered with a gap or from another epoch")
		}
		if at.seq < a.recover.seq {
			return fmt.Errorf("recovered to before %d", a.recover.seq)
		}
		c.model.see("recovered")
		if a.recover.seq < at.seq {
			c.model.see("recovered with a replay")
		}
		v.at = *a.recover
		if !was.follows {
			v.newest = place{a.recover.epoch, a.recover.seq}
		}
		return nil
	}
	if m.Data.Gap == nil || m.Data.Gap.From != fmt.Sprint(a.recover.seq) {
		return fmt.Errorf("not recovered and no gap from %d", a.recover.seq)
	}
	c.model.see("not recovered: " + m.Data.Gap.Reason)
	if m.Data.Gap.Reason == "epoch_changed" {
		v.at = at
		return nil
	}
	to, err := strconv.ParseUint(m.Data.Gap.To, 10, 64)
	if err != nil || to > at.seq {
		return fmt.Errorf("a gap beyond the position")
	}
	v.at = place{at.epoch, to}
	return nil
}

func epochNumber(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "epoch"))
	return n
}

func (c *checker) gap(v *view, target string, g saidGap) error {
	if !c.v1 || !v.follows {
		return fmt.Errorf("a gap for one who does not follow")
	}
	c.model.see("gap: " + g.Reason)
	c.excuse(target)
	from, err := strconv.ParseUint(g.From, 10, 64)
	if err != nil {
		return err
	}
	to, err := strconv.ParseUint(g.To, 10, 64)
	if err != nil {
		return err
	}
	if g.Reason == "epoch_changed" {
		v.at = place{0, to}
		return nil
	}
	if to <= v.at.seq {
		return fmt.Errorf("a gap in what is before the position %v", v.at)
	}
	if from > v.at.seq && v.at.epoch > 0 {
		if err := c.complete(target, v, v.at.epoch, from+1); err != nil {
			return err
		}
	}
	v.at.seq = to
	return nil
}

// complete returns an error if something between v's position and seq is
// missing.
func (c *checker) complete(target string, v *view, epoch int, seq uint64) error {
	for _, m := range c.model.stored(target, epoch) {
		switch {
		case m.seq <= v.at.seq || m.seq >= seq || m.mayExpire:
		case v.early[place{epoch, m.seq}]:
		default:
			return fmt.Errorf("%d of %s is missing after %d", m.seq, target, v.at.seq)
		}
	}
	return nil
}

func (c *checker) message(m *said) error {
	target := m.Data.To
	v := c.view(target)
	if !v.member {
		return fmt.Errorf("not a member")
	}
	at := place{m.Data.E, m.Data.N}
	if at.seq == 0 { // it was not stored
		if m.Offset != nil {
			return fmt.Errorf("an offset for what is not stored")
		}
		return nil
	}
	if v.early[at] {
		return fmt.Errorf("came before")
	}
	v.got[at] = true
	if m.Offset == nil {
		if c.v1 && v.follows && (!v.unasked || v.start.before(at)) {
			return fmt.Errorf("follows, and there is no offset")
		}
		if !v.bare.before(at) || !v.follows && !v.newest.before(at) {
			return fmt.Errorf("after %v and %v", v.newest, v.bare)
		}
		v.bare = at
		if v.follows {
			c.model.see("late")
		} else {
			v.newest = at
		}
		if target == c.user {
			v.early[at] = true
		}
		return nil
	}
	if !c.v1 || !v.follows {
		return fmt.Errorf("an offset for one who does not follow")
	}
	if *m.Offset != fmt.Sprint(at.seq) {
		return fmt.Errorf("the offset should be %d", at.seq)
	}
	if v.at.epoch == 0 {
		if !v.newest.before(at) || v.newest.epoch == at.epoch && v.newest != v.bare {
			return fmt.Errorf("%v is not of a new epoch, after %v", at, v.newest)
		}
		v.at.epoch = at.epoch
	}
	if at.epoch != v.at.epoch {
		return fmt.Errorf("another epoch than %d", v.at.epoch)
	}
	if at.seq <= v.at.seq {
		return fmt.Errorf("twice, or out of order: the position is %v", v.at)
	}
	if err := c.complete(target, v, at.epoch, at.seq); err != nil {
		return err
	}
	v.at, v.newest = at, at
	return nil
}

// excuse says that nothing that was stored so far must reach this connection.
func (c *checker) excuse(target string) { c.view(target).since = c.model.newest() }

// owed returns an error if the inbox misses something that came live at least so
// long ago. That is promised to those who don't follow, too: all of it was there
// for them.
func (c *checker) owed(ago time.Duration) error {
	v := c.view(c.user)
	if !c.model.roomy || v.since.epoch == 0 || v.follows && !v.unasked {
		return nil
	}
	for _, came := range c.model.cameFor(c.user, ago) {
		if !v.since.before(came.place) {
			continue
		}
		if v.follows && v.start.before(came.place) {
			continue // complete looks at that
		}
		if !came.lost && !came.mayExpire && !v.got[came.place] {
			return fmt.Errorf("%v of %s came live, and did not reach it; %+v", came.place, c.user, *v)
		}
	}
	return nil
}

// end judges a connection that should have got everything.
func (c *checker) end() error {
	for id, a := range c.asked {
		return fmt.Errorf("request %s (%s %s) was not answered", id, a.kind, a.target)
	}
	for target, v := range c.views {
		if !v.follows {
			continue
		}
		epoch := c.model.epoch()
		if v.at.epoch != 0 && v.at.epoch != epoch {
			return fmt.Errorf("%s is still in epoch %d", target, v.at.epoch)
		}
		if err := c.complete(target, v, epoch, 1<<62); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	return nil
}

// modelTarget returns the target that a name of the model stands for.
func modelTarget(name string) address.Target {
	if strings.HasPrefix(name, "u") {
		return userTarget("acme", name)
	}
	return channelTarget("acme", name)
}
