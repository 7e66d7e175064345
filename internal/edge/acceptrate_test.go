package edge_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegisx/pushd/internal/edge"
)

// TestAcceptRate: what is over the rate gets 503, and later the rate lets others
// in again.
func TestAcceptRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, ln := newPipeEnv(t, func(o *edge.Options) { o.AcceptRate = 1 })
		good := token(t, who{user: "ann"})
		// knock returns how many of so many, at once, were refused.
		knock := func(times int) (refused int) {
			for range times {
				conn, _, answer := ln.knock(t, "192.0.2.1:1", good)
				switch answer.StatusCode {
				case http.StatusSwitchingProtocols:
				case http.StatusServiceUnavailable:
					refused++
				default:
					t.Fatalf("got %v", answer)
				}
				_ = conn.Close()
			}
			return refused
		}
		if refused := knock(8); refused != 7 {
			t.Errorf("%d of 8 were refused, want 7", refused)
		}
		if got := e.metric(t, "pushd_edge_refused_total", "accept_rate"); got != 7 {
			t.Errorf("counted %g", got)
		}
		pass(time.Second)
		if refused := knock(2); refused != 1 {
			t.Errorf("%d of 2 were refused a second later, want 1", refused)
		}
	})
}
