package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/test/harness"
)

// TestMemoryLadder: each step does what it should, and leaving it undoes that.
func TestMemoryLadder(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c, _ := e.dialDeflate(t, who{user: "ann"})
		c.next()
		big := func() string { return `{"type":"news","data":"` + strings.Repeat("all the same ", 200) + `"}` }
		compressed := func() bool {
			e.deliver(userTarget("acme", "ann"), big())
			_, compressed := c.next()
			return compressed
		}
		if !compressed() {
			t.Error("level 0: not compressed")
		}
		e.hub.SetMemoryLevel(1)
		if compressed() {
			t.Error("level 1: compressed")
		}
		e.dial(t, who{user: "bob"})

		e.hub.SetMemoryLevel(2)
		_, err := harness.Upgrade(t.Context(), e.url("/ws"), token(t, who{user: "eve"}), nil)
		var status ws.StatusError
		if !errors.As(err, &status) || int(status) != 503 {
			t.Errorf("level 2: %v", err)
		}
		if got := e.metric(t, "pushd_edge_refused_total", "memory"); got != 1 {
			t.Errorf("counted %g", got)
		}

		e.hub.SetMemoryLevel(0)
		if !compressed() {
			t.Error("level 0 again: not compressed")
		}
		e.dial(t, who{user: "eve"})
	})
}

// TestCriticalMemoryClosesWhoHoldsAMessage: what came of an unfinished message
// counts like a queue.
func TestCriticalMemoryClosesWhoHoldsAMessage(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		slow := e.dial(t, who{user: "slow"}).narrow()
		sender := e.dial(t, who{user: "sender"})
		e.clog(userTarget("acme", "slow"), 8)
		before := e.hub.Totals().BytesIn
		half := ws.NewFrame(ws.OpText, false, []byte(strings.Repeat("x", 900<<10)))
		if err := sender.SendFrame(half); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if got := e.hub.Totals().BytesIn - before; got < 900<<10 {
				return fmt.Errorf("%d bytes came", got)
			}
			return nil
		})
		e.hub.SetMemoryLevel(3)
		sender.expectClose(4101)
		e.hub.SetMemoryLevel(0)
		e.deliver(userTarget("acme", "slow"), `{"type":"last"}`)
		if got := slow.until("last"); len(got) != 8 {
			t.Errorf("the other one got %d messages", len(got))
		}
	})
}

// TestCriticalMemoryClosesTheSlowest: of those with a queue the longest goes,
// with 4101, and nobody else.
func TestCriticalMemoryClosesTheSlowest(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		quick := e.dial(t, who{user: "quick"})
		slow, slower := e.dial(t, who{user: "slow"}).narrow(), e.dial(t, who{user: "slower"}).narrow()
		e.clog(userTarget("acme", "slow"), 8)
		e.clog(userTarget("acme", "slower"), 12)
		eventually(t, func() error { return wantEqual(float64(e.hub.Totals().MessagesOut), 20) })
		e.hub.SetMemoryLevel(3)
		slower.expectClose(4101)
		e.hub.SetMemoryLevel(0)
		e.deliver(userTarget("acme", "quick"), `{"type":"x"}`)
		quick.expectText(`{"type":"x"}`)
		e.deliver(userTarget("acme", "slow"), `{"type":"last"}`)
		if got := slow.until("last"); len(got) != 8 {
			t.Errorf("the other slow one got %d messages", len(got))
		}
	})
}
