package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

// TestCompressedFloodCostsLittle: messages that grow a thousandfold are paid for
// as large as they become, and what is over the rate is not even inflated. A
// neighbour on the same loop is answered in the middle of it.
func TestCompressedFloodCostsLittle(t *testing.T) {
	onEachDriver(t, func(o *edge.Options) { o.Loops, o.InboundBurst = 1, 100 }, func(t *testing.T, e *env) {
		neighbour := e.dial(t, who{user: "bob"})
		c, _ := e.dialDeflate(t, who{user: "eve"})
		c.next()
		bomb := c.frame("[" + strings.Repeat("{},", 300_000) + "{}]")
		began := time.Now()
		const rounds, each, bombs = 6, 10, 60
		for range rounds {
			for range each {
				c.write(bomb)
			}
			asked := time.Now()
			neighbour.quiet()
			if took := time.Since(asked); took > answerWithin {
				t.Errorf("the neighbour waited for %s", took)
			}
		}
		refused := 0
		for range bombs {
			if text, _ := c.next(); strings.Contains(text, "rate_limited") {
				refused++
			}
		}
		// Each is 14 units of 64 KiB. The burst of 100 pays for 7, an eighth comes
		// in on what is left, and the rate of 50 allows less than 4 a second.
		paid := 8 + 1 + int(time.Since(began).Seconds()*4)
		if bombs-refused > paid {
			t.Errorf("%d of %d were taken, at most %d are paid for", bombs-refused, bombs, paid)
		}
	})
}

// answerWithin is how long a neighbour of a flood may wait for an answer.
const answerWithin = patience / 2

// TestWaitingRequestsAreBounded: while interest is not live, requests wait, but
// not without end, and what they came in is not kept. It runs alone, for the
// heap is everybody's.
func TestWaitingRequestsAreBounded(t *testing.T) {
	const (
		sent, wait = 300, 256
		size       = 60_000
	)
	for name, driver := range drivers() {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(o *edge.Options) { o.NewDriver = driver })
			c := e.dial(t, who{user: "ann"})
			e.bus.holdBack(address.KindChannel)
			before := heap()
			for range sent {
				c.send(request("join_channel", `"channel":`+quote(room)+`,"ignored":"`+strings.Repeat("x", size)+`"`))
			}
			for range sent - wait {
				c.expectError("rate_limited")
			}
			if grown := heap() - before; grown > wait*size/4 {
				t.Errorf("%d bytes are held", grown)
			}
			e.bus.settle(nil)
			for range wait {
				c.expect("channel_joined")
			}
			c.quiet()
		})
	}
}
