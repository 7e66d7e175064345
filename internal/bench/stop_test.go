package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// stopAt returns what stops a scenario at the first progress that when holds
// for.
func stopAt(when func(Progress) bool) (stop <-chan struct{}, show func(Progress)) {
	closed := make(chan struct{})
	done := false
	return closed, func(p Progress) {
		if !done && when(p) {
			done = true
			close(closed)
		}
	}
}

func TestStopEndsALoadEarly(t *testing.T) {
	for name, rate := range map[string]float64{"open loop": 1000, "closed loop": 0} {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			l := testLoad(TrafficOptions{Rate: rate, InFlight: 2, Stop: stop}, 1, func(p *pool, m Message) {
				if m.Seq == 10 {
					close(stop)
				}
				deliver(p, m, 1)
			})
			f, err := l.run(t.Context(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if !f.stopped || f.messages < 11 || f.took > time.Minute {
				t.Errorf("stopped %t, %d messages in %s", f.stopped, f.messages, f.took)
			}
			if f.tally.deliveries.Load() != f.messages || f.calls.count.Load() != uint64(f.messages) {
				t.Errorf("of %d messages %d were delivered", f.messages, f.tally.deliveries.Load())
			}
		})
	}
	t.Run("not stopped", func(t *testing.T) {
		l := testLoad(TrafficOptions{InFlight: 2, Stop: make(chan struct{})}, 1, func(p *pool, m Message) { deliver(p, m, 1) })
		f, err := l.run(t.Context(), 10*time.Millisecond)
		if err != nil || f.stopped {
			t.Errorf("stopped %t, %v", f.stopped, err)
		}
	})
	t.Run("a message is lost", func(t *testing.T) {
		// The patience counts from the stop, not from the end that was planned.
		stop := make(chan struct{})
		l := testLoad(TrafficOptions{InFlight: 1, Stop: stop}, 1, func(*pool, Message) { close(stop) })
		l.patience = 20 * time.Millisecond
		if _, err := l.run(t.Context(), time.Hour); !errors.Is(err, errMissing) {
			t.Errorf("error %v", err)
		}
	})
}

func TestStopScenarios(t *testing.T) {
	t.Run("unicast", func(t *testing.T) {
		stop, show := stopAt(func(p Progress) bool { return p.What == "deliveries" && p.Done > 0 })
		r, err := Unicast(t.Context(), startFakeServer(t), TrafficOptions{
			Clients: 5, PayloadBytes: 100, InFlight: 2, Duration: time.Hour, Stop: stop, Progress: show,
		})
		if err != nil || !r.Stopped || r.Deliveries != r.Messages || r.Messages == 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
	t.Run("during the warm-up", func(t *testing.T) {
		stop, show := stopAt(func(p Progress) bool { return p.What == "deliveries" })
		_, err := Unicast(t.Context(), startFakeServer(t), TrafficOptions{
			Clients: 5, PayloadBytes: 100, InFlight: 2, Warmup: time.Hour, Duration: time.Hour, Stop: stop, Progress: show,
		})
		if !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
	stopped := make(chan struct{})
	close(stopped)
	t.Run("before it begins", func(t *testing.T) {
		_, err := Fanout(t.Context(), startFakeServer(t), TrafficOptions{
			Clients: 5000, PayloadBytes: 100, InFlight: 2, Duration: time.Hour, Stop: stopped,
		})
		if !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("before anybody is called", func(t *testing.T) {
		_, err := Notify(t.Context(), startFakeServer(t), NotifyOptions{5, TrafficOptions{
			PayloadBytes: 100, InFlight: 2, Duration: time.Hour, Stop: stopped,
		}})
		if !errors.Is(err, ErrStopped) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a hold", func(t *testing.T) {
		stop, show := stopAt(func(p Progress) bool { return p.Level })
		r, err := Connect(t.Context(), startFakeServer(t), ConnectOptions{
			Clients: 5, InFlight: 2, Hold: time.Hour, Stop: stop, Progress: show,
		})
		if err != nil || !r.Stopped || r.Clients != 5 || r.HeldSeconds <= 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
}

// halfServer greets some clients and never answers the others.
type halfServer struct {
	*fakeServer
	silent *fakeServer
	half   int
}

func (h *halfServer) Client(i int) (Client, error) {
	if i < h.half {
		return h.fakeServer.Client(i)
	}
	c, err := h.silent.Client(i)
	c.Ready = []byte("never")
	return c, err
}

func TestStopConnecting(t *testing.T) {
	stop, show := stopAt(func(p Progress) bool { return p.Done == 3 })
	s := &halfServer{startFakeServer(t), startFakeServer(t), 3}
	r, err := Connect(t.Context(), s, ConnectOptions{Clients: 5, InFlight: 2, Hold: time.Hour, Stop: stop, Progress: show})
	if err != nil || !r.Stopped || r.Clients != 3 || r.PerSecond <= 0 || r.HeldSeconds != 0 {
		t.Errorf("result %+v, %v", r, err)
	}
}

func TestHold(t *testing.T) {
	r, err := Connect(t.Context(), startFakeServer(t), ConnectOptions{Clients: 5, InFlight: 2, Hold: 10 * time.Millisecond})
	if err != nil || r.Stopped || r.HeldSeconds < 0.01 {
		t.Errorf("result %+v, %v", r, err)
	}

	f := startFakeServer(t)
	_, err = Connect(t.Context(), f, ConnectOptions{
		Clients: 5, InFlight: 2, Hold: time.Hour, Progress: func(p Progress) {
			if p.Level {
				_ = ws.WriteFrame(f.conn(3), ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "drain")))
			}
		},
	})
	var closed *ClosedError
	if !errors.As(err, &closed) || closed.Code != 4000 || closed.Reason != "drain" || !strings.Contains(err.Error(), "hold 5 clients") {
		t.Errorf("error %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err = Connect(ctx, startFakeServer(t), ConnectOptions{
		Clients: 5, InFlight: 2, Hold: time.Hour, Progress: func(Progress) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
