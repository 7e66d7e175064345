package edge_test

import (
	"errors"
	"testing"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/test/harness"
)

// TestAcceptRate: what is over the rate gets 503, and later the rate lets others
// in again.
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
