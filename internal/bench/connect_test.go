package bench

import (
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// connectAtRate makes connections by a driver, and returns the pool when all are
// ready.
func connectAtRate(t *testing.T, f *fakeServer, count, atOnce int, rate float64, start newDriverFunc) *pool {
	t.Helper()
	clients, err := clientsOf(f, 0, count)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startPool(clients, atOnce, rate, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if err := p.await(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// startStalling starts a server that takes so long for the first connection.
func startStalling(t *testing.T, stall time.Duration) *fakeServer {
	t.Helper()
	var once sync.Once
	return startFakeServerFor(t, func(f *fakeServer, conn net.Conn) {
		once.Do(func() { <-time.After(stall) })
		f.greet(conn)
	})
}

func TestConnectsInAnOpenLoop(t *testing.T) {
	const (
		count = 20
		stall = 200 * time.Millisecond
	)
	for name, start := range map[string]newDriverFunc{"best": newDriver, "streams": newStreams} {
		t.Run(name+", none is early", func(t *testing.T) {
			const rate = 200
			p := connectAtRate(t, startFakeServer(t), count, count, rate, start)
			if last := lead + (count-1)*time.Second/rate; p.readyAfter < last {
				t.Errorf("all were ready after %s, but the last was due at %s", p.readyAfter, last)
			}
		})
		// The first connection stalls, and the others have to wait for it. Measured
		// from when they were made, all but one would take no time.
		t.Run(name+", measured from when they were due", func(t *testing.T) {
			p := connectAtRate(t, startStalling(t, stall), count, 1, 1000, start)
			if got := p.connects.quantile(0); got < stall-count*time.Millisecond {
				t.Errorf("the shortest took %s, of a stall of %s", got, stall)
			}
		})
		t.Run(name+", in a closed loop each from when there was room", func(t *testing.T) {
			p := connectAtRate(t, startStalling(t, stall), count, 1, 0, start)
			if first, all := p.connects.quantile(1), p.readyAfter; first < stall || all < first {
				t.Errorf("the longest took %s, all %s", first, all)
			}
			if got := p.connects.quantile(0); got >= p.readyAfter-stall/2 {
				t.Errorf("the shortest took %s of %s", got, p.readyAfter)
			}
		})
		t.Run(name+", no more at once than allowed", func(t *testing.T) {
			const atOnce = 3
			var making, most atomic.Int64
			var once sync.Once
			full := make(chan struct{})
			f := startFakeServerFor(t, func(f *fakeServer, conn net.Conn) {
				n := making.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				if n == atOnce {
					once.Do(func() { close(full) })
				}
				<-full
				making.Add(-1) // The client knows of it after that.
				f.greet(conn)
			})
			connectAtRate(t, f, count, atOnce, 1e6, start)
			if most.Load() != atOnce {
				t.Errorf("%d were made at once, want %d", most.Load(), atOnce)
			}
		})
	}
	t.Run("the scenario", func(t *testing.T) {
		r, err := Connect(t.Context(), startFakeServer(t), ConnectOptions{Clients: count, InFlight: 4, Rate: 500})
		if err != nil || r.Clients != count || r.Rate != 500 || r.Seconds < (count-1)/500.0 || r.PerSecond > 530 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		stop, show := stopAt(func(p Progress) bool { return p.Done == 1 })
		r, err := Connect(t.Context(), startFakeServer(t), ConnectOptions{
			Clients: 100, InFlight: 4, Rate: 0.01, Hold: time.Hour, Stop: stop, Progress: show,
		})
		if err != nil || !r.Stopped || r.Clients != 1 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
}

func TestConnectRateIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		rate float64
		want string
	}{
		"none":     {0, ""},
		"slow":     {0.01, ""},
		"negative": {-1, "rate must not be negative, not -1"},
		"too slow": {0.001, "rate and clients must not take more than 24h0m0s"},
		"no value": {math.NaN(), "rate must not be negative, not NaN"},
	} {
		err := ConnectOptions{Clients: 100, InFlight: 1, Rate: c.rate}.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
