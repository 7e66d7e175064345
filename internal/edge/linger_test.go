package edge_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/test/harness"
)

// TestLinger: messages of a channel that lingers come after a moment, all and in
// order; others do not wait for them, and take them along.
func TestLinger(t *testing.T) {
	pattern := must(address.ParsePattern("tenant:acme:tick:*"))
	onEachDriver(t, func(o *edge.Options) {
		o.Lingers = []edge.Linger{{Channels: pattern, Delay: 5 * time.Millisecond}}
	}, func(t *testing.T, e *env) {
		c := e.dial(t, who{user: "ann"})
		const tick = "tenant:acme:tick:a"
		c.join(tick)
		c.join(room)
		for i := range 20 {
			e.deliver(channelTarget("acme", tick), fmt.Sprintf(`{"type":"tick","data":%d}`, i))
		}
		for i := range 20 {
			c.expectText(fmt.Sprintf(`{"type":"tick","data":%d}`, i))
		}
		e.deliver(channelTarget("acme", tick), `{"type":"tick"}`)
		e.deliver(channelTarget("acme", room), `{"type":"talk"}`)
		c.expectText(`{"type":"tick"}`)
		c.expectText(`{"type":"talk"}`)
	})
}

func TestAcceptRate(t *testing.T) {
	e := newEnv(t, func(o *edge.Options) { o.AcceptRate = 1 })
	good := token(t, who{user: "ann"})
	refused := 0
	for range 8 {
		s, err := harness.Upgrade(t.Context(), e.url("/ws"), good, nil)
		var status ws.StatusError
		switch {
		case err == nil:
			_ = s.Close()
		case errors.As(err, &status) && int(status) == 503:
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 || refused > 7 { // one gets in at once, more only as time passes
		t.Errorf("%d of 8 were refused, want 7 or a few less", refused)
	}
	if got := e.metric(t, "pushd_edge_refused_total", "accept_rate"); got != float64(refused) {
		t.Errorf("counted %g of %d", got, refused)
	}
	eventually(t, func() error { // the rate lets others in again
		s, err := harness.Upgrade(t.Context(), e.url("/ws"), good, nil)
		if err == nil {
			_ = s.Close()
		}
		return err
	})
}
