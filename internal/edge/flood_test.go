package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
)

// TestCompressedFloodCostsLittle: messages that grow a thousandfold are paid for
// as large as they become, and what is over the rate is not even inflated. So a
// neighbour on the same loop does not notice.
func TestCompressedFloodCostsLittle(t *testing.T) {
	onEachDriver(t, func(o *edge.Options) { o.Loops, o.InboundBurst = 1, 100 }, func(t *testing.T, e *env) {
		neighbour := e.dial(t, who{user: "bob"})
		c, _ := e.dialDeflate(t, who{user: "eve"})
		c.next()
		bomb := c.frame("[" + strings.Repeat("{},", 300_000) + "{}]")
		began := time.Now()
		const bombs = 60
		for range bombs {
			c.write(bomb)
		}
		refused := 0
		for range bombs {
			if text, _ := c.next(); strings.Contains(text, "rate_limited") {
				refused++
			}
		}
		neighbour.fence()
		// 100 units of 64 KiB are 6 of these, and the rate allows a few more.
		if paid := 15 + int(time.Since(began).Seconds()*4); bombs-refused > paid {
			t.Errorf("%d of %d were taken, at most %d are paid for", bombs-refused, bombs, paid)
		}
	})
}

// TestWaitingRequestsAreBounded: while interest is not live, 256 requests of a
// connection wait; what is over that is refused, and those get their answer.
func TestWaitingRequestsAreBounded(t *testing.T) {
	onEachDriver(t, nil, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		e.bus.holdBack(address.KindChannel)
		const sent = 300
		for range sent {
			c.send(request("join_channel", `"channel":`+quote(room)+`,"ignored":"`+strings.Repeat("x", 1000)+`"`))
		}
		for range sent - 256 {
			c.expectError("rate_limited")
		}
		e.bus.settle(nil)
		for range 256 {
			c.expect("channel_joined")
		}
	})
}
