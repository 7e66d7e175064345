package edge

import (
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimiterIsATokenBucket: the limiter lets pass exactly what a bucket of
// burst tokens does that fills at the rate.
func TestLimiterIsATokenBucket(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		burst := 1 + r.IntN(20)
		shared := newRate(100, burst) // one each 10 ms
		var l limiter
		now, last, tokens := time.Duration(r.Int64N(1e9)), time.Duration(0), float64(burst)
		for range 2000 {
			tokens = math.Min(float64(burst), tokens+float64(now-last)/float64(10*time.Millisecond))
			last = now
			want := tokens >= 1-1e-9
			if want {
				tokens--
			}
			if got := l.allow(shared, now, 1); got != want {
				t.Fatalf("seed %d at %s: got %v with %g tokens", seed, now, got, tokens)
			}
			now += time.Duration(r.Int64N(25)) * time.Millisecond
		}
	}
}

// TestLimiterFloods: an excess of five seconds is a flood, a burst is not, nor
// are bursts with more than a second between.
func TestLimiterFloods(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		// pause is made after each of so many messages.
		after int
		pause time.Duration
		// floods is when the limiter calls it a flood; 0: never in a minute.
		floods time.Duration
	}{
		{name: "flat out", every: time.Millisecond, floods: 5 * time.Second},
		{name: "twice too fast", every: 250 * time.Millisecond, floods: 5 * time.Second},
		{name: "a little too fast", every: 400 * time.Millisecond}, // one refusal every two seconds
		{name: "at the rate", every: 500 * time.Millisecond},
		{name: "bursts", every: time.Millisecond, after: 100, pause: 1100 * time.Millisecond},
		{name: "short pauses", every: time.Millisecond, after: 1000, pause: 900 * time.Millisecond, floods: 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l limiter
			shared := newRate(2, 2)
			flooded := time.Duration(0)
			for now, n := time.Duration(0), 1; now < time.Minute; n++ {
				if !l.allow(shared, now, 1) && l.flooding() {
					flooded = now
					break
				}
				now += c.every
				if c.after > 0 && n%c.after == 0 {
					now += c.pause
				}
			}
			if (flooded == 0) != (c.floods == 0) || flooded > c.floods+3*time.Second || flooded != 0 && flooded < c.floods {
				t.Errorf("flooding at %s, want %s", flooded, c.floods)
			}
		})
	}
}

// TestLimiterWait: after the wait that is told, and not before, a message is
// allowed.
func TestLimiterWait(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		shared := newRate(100, 1+r.IntN(20))
		var l limiter
		now := time.Duration(r.Int64N(1e9))
		for range 500 {
			wait := l.wait(shared, now)
			early, late := l, l
			if wait > 0 && early.allow(shared, now+wait-1, 1) {
				t.Fatalf("seed %d at %s: allowed before %s", seed, now, wait)
			}
			if !late.allow(shared, now+wait, 1) {
				t.Fatalf("seed %d at %s: not allowed after %s", seed, now, wait)
			}
			l.allow(shared, now, 1+r.IntN(3))
			now += time.Duration(r.Int64N(int64(15 * time.Millisecond)))
		}
	}
}

func addr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func TestFailureLimiter(t *testing.T) {
	now := time.Now()
	f := newFailureLimiter()
	fail := func(from string, n int) {
		for range n {
			f.record(addr(from), now)
		}
	}
	fail("192.0.2.1:1", failureBurst)
	if f.blocked(addr("192.0.2.1:1"), now) {
		t.Error("blocked after the burst that is allowed")
	}
	fail("192.0.2.1:2", 1)
	fail("[2001:db8:0:1::1]:1", failureBurst+1)
	fail("[::ffff:198.51.100.1]:1", failureBurst+1)
	fail("127.0.0.1:1", 10*failureBurst)
	fail("127.8.8.8:1", 10*failureBurst)
	fail("[::1]:1", 10*failureBurst)
	fail("[fe80::1%eth0]:1", failureBurst+1)
	for from, want := range map[string]bool{
		"192.0.2.1:9": true, "192.0.2.2:1": false, "[::ffff:192.0.2.1]:1": true,
		"[2001:db8:0:1::1]:9": true, "[2001:db8:0:1:ffff::2]:1": true, "[2001:db8:0:2::1]:1": false,
		"198.51.100.1:1": true, "127.0.0.1:1": false, "127.8.8.8:1": false, "[::1]:1": false,
		"[fe80::2%eth1]:1": true,
	} {
		if got := f.blocked(addr(from), now); got != want {
			t.Errorf("%s: blocked %v", from, got)
		}
	}
	// One is forgotten after each interval.
	if f.blocked(addr("192.0.2.1:1"), now.Add(failureInterval)) {
		t.Error("still blocked after an interval")
	}
	if f.record(addr("192.0.2.1:1"), now.Add(failureInterval)); f.blocked(addr("192.0.2.1:1"), now.Add(failureInterval)) != true {
		t.Error("not blocked by one more")
	}
	if f.blocked(addr("192.0.2.1:1"), now.Add(time.Hour)) {
		t.Error("still blocked after an hour")
	}
	// What is no address of TCP has no limit.
	for _, odd := range []net.Addr{nil, &net.UnixAddr{Name: "x"}, &net.TCPAddr{}} {
		for range 2 * failureBurst {
			f.record(odd, now)
		}
		if f.blocked(odd, now) {
			t.Errorf("%v is blocked", odd)
		}
	}
}

// TestFailureLimiterIsBounded: however many addresses fail, few are remembered;
// those that have recovered go first.
func TestFailureLimiterIsBounded(t *testing.T) {
	f := newFailureLimiter()
	now := time.Now()
	from := func(i int) net.Addr {
		return &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))}
	}
	bad := addr("192.0.2.1:1")
	for range failureBurst + 10 {
		f.record(bad, now)
	}
	for i := range failureAddresses - 1 {
		f.record(from(i), now)
	}
	later := now.Add(failureInterval + time.Millisecond)
	f.record(from(failureAddresses), later)
	if len(f.due) != 2 || !f.blocked(bad, later) {
		t.Errorf("%d are remembered; the one that is blocked: %v", len(f.due), f.blocked(bad, later))
	}
	for i := range 3 * failureAddresses {
		f.record(from(i), later)
		if len(f.due) > failureAddresses {
			t.Fatalf("%d are remembered", len(f.due))
		}
	}
}

// TestAcceptPause: the pauses double up to a second, begin anew after success,
// and end when the server does.
func TestAcceptPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p acceptPause
		stop := make(chan struct{})
		wait := func(want time.Duration) {
			t.Helper()
			started := time.Now()
			p.wait(stop)
			if took := time.Since(started); took != want {
				t.Errorf("paused %s, want %s", took, want)
			}
		}
		for _, ms := range []int64{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
			wait(time.Duration(ms * int64(time.Millisecond)))
		}
		p.reset()
		wait(5 * time.Millisecond)
		close(stop)
		wait(0)
	})
}
