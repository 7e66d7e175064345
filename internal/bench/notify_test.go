package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// callServer counts calls and sends nothing.
type callServer struct {
	*fakeServer
	users  int
	calls  atomic.Int64
	beyond atomic.Bool // a call for none of the users was made
	err    error
}

func (s *callServer) Unicast(_ context.Context, i int, _ Message) error {
	s.calls.Add(1)
	if i < 0 || i >= s.users {
		s.beyond.Store(true)
	}
	return s.err
}

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		name    string
		clients int
		rate    float64
	}{
		{"nobody is connected, open loop", 0, 200},
		{"nobody is connected, closed loop", 0, 0},
		{"some are connected, open loop", 3, 200},
		{"some are connected, closed loop", 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &callServer{fakeServer: startFakeServer(t), users: 7}
			r, err := Notify(t.Context(), s, NotifyOptions{7, TrafficOptions{
				Clients: c.clients, PayloadBytes: 100, Rate: c.rate, InFlight: 4, Duration: 100 * time.Millisecond,
			}})
			if err != nil {
				t.Fatal(err)
			}
			if r.Calls != s.calls.Load() || r.Calls == 0 || s.beyond.Load() || r.Call.P50 <= 0 || r.CallsPerSecond <= 0 || r.CPUMicros <= 0 {
				t.Errorf("%d calls, result %+v", s.calls.Load(), r)
			}
			if c.rate > 0 && r.Calls != 20 {
				t.Errorf("%d calls, want 20", r.Calls)
			}
			s.mu.Lock()
			n := len(s.conns)
			s.mu.Unlock()
			if n != c.clients {
				t.Errorf("%d connections, want %d", n, c.clients)
			}
		})
	}
	t.Run("some arrive", func(t *testing.T) {
		s := &fakeServerFor{startFakeServer(t), 3}
		r, err := Notify(t.Context(), s, NotifyOptions{7, TrafficOptions{
			Clients: 3, PayloadBytes: 100, InFlight: 4, Duration: 50 * time.Millisecond,
		}})
		if err != nil || r.Calls == 0 {
			t.Errorf("result %+v, %v", r, err)
		}
	})
	t.Run("a call fails", func(t *testing.T) {
		errBroken := errors.New("broken")
		s := &callServer{fakeServer: startFakeServer(t), users: 7, err: errBroken}
		_, err := Notify(t.Context(), s, NotifyOptions{7, TrafficOptions{PayloadBytes: 100, InFlight: 4, Duration: time.Second}})
		if !errors.Is(err, errBroken) {
			t.Errorf("error %v", err)
		}
	})
}

// fakeServerFor drops what is for others than its clients.
type fakeServerFor struct {
	*fakeServer
	clients int
}

func (s *fakeServerFor) Unicast(ctx context.Context, i int, m Message) error {
	if i >= s.clients {
		return nil
	}
	return s.fakeServer.Unicast(ctx, i, m)
}

func TestNotifyOptionsValidate(t *testing.T) {
	good := TrafficOptions{PayloadBytes: MinPayload, InFlight: 1, Duration: 1}
	if err := (NotifyOptions{1, good}).Validate(); err != nil {
		t.Error(err)
	}
	many, negative := good, good
	many.Clients, negative.Clients = 2, -1
	for i, bad := range []NotifyOptions{{0, good}, {1, many}, {1, negative}, {1, TrafficOptions{}}} {
		if bad.Validate() == nil {
			t.Errorf("case %d: %+v is valid", i, bad)
		}
	}
}
