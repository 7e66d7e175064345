// Package conformance_test holds pushd's wire to RFC 6455 and RFC 7692: the
// rules of the Autobahn test suite's sections 1 to 7, 9, 10, 12 and 13 as rows
// of tables, with their numbers where the suite has the case, and what it
// leaves out. A client of raw bytes plays them over TCP against the echo
// server, whose handshake, sockets, frames, queues and closing are those of
// pushd, with each driver.
package conformance_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/edge/poll"
	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

// suite is a table and the server that it needs.
type suite struct {
	name   string
	change func(*edge.Options)
	offer  string // of extensions, for all rows; empty: none
	rows   []row
}

func suites() []suite {
	compressed := func(o *edge.Options) { o.CompressionThreshold = 1 }
	tight := func(o *edge.Options) {
		o.CompressionThreshold = 1
		o.MaxMessageBytes = tightLimit
	}
	return []suite{
		{"framing", nil, "", framing()},
		{"pings", nil, "", pings()},
		{"reserved", nil, "", reserved()},
		{"fragments", nil, "", fragments()},
		{"text", nil, "", utf8Rows()},
		{"closing", nil, "", closings()},
		{"sizes", nil, "", sizes()},
		{"limits", tight, "", limits()},
		{"deflate", compressed, deflateOffer, deflated()},
		{"deflate limits", tight, deflateOffer, deflateLimits()},
		{"offers", compressed, "", offers()},
	}
}

// drivers are the driver of this system and the one that serves every system.
func drivers() map[string]func(sync.Locker) (poll.Driver, error) {
	return map[string]func(sync.Locker) (poll.Driver, error){
		"poll":      poll.New,
		"goroutine": func(l sync.Locker) (poll.Driver, error) { return poll.NewGoroutine(l), nil },
	}
}

func TestConformance(t *testing.T) {
	all := suites()
	check(t, all)
	for name, driver := range drivers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range all {
				t.Run(s.name, func(t *testing.T) { s.run(t, driver) })
			}
		})
	}
}

// run plays the rows against one server.
func (s suite) run(t *testing.T, driver func(sync.Locker) (poll.Driver, error)) {
	addr := startEcho(t, func(o *edge.Options) {
		o.NewDriver = driver
		if s.change != nil {
			s.change(o)
		}
	})
	for _, r := range s.rows {
		t.Run(r.name, func(t *testing.T) { r.run(t, addr, s.offer) })
	}
}

// check sees to it that no row hides another of the same name, and that none
// got lost.
func check(t *testing.T, all []suite) {
	t.Helper()
	total := 0
	for _, s := range all {
		seen := make(map[string]bool)
		for _, r := range s.rows {
			if seen[r.name] {
				t.Errorf("%s has two rows %q", s.name, r.name)
			}
			seen[r.name] = true
			if len(r.steps) == 0 {
				t.Errorf("%s: %q does nothing", s.name, r.name)
			}
		}
		t.Logf("%4d rows of %s", len(s.rows), s.name)
		total += len(s.rows)
	}
	if total < 1000 {
		t.Errorf("%d rows", total)
	}
}

// startEcho serves until the end of the test and returns its address.
func startEcho(t *testing.T, change func(*edge.Options)) string {
	t.Helper()
	o := edge.EchoOptions()
	o.Loops = 2
	change(&o)
	hub, err := edge.NewHub(o)
	if err != nil {
		t.Fatal(err)
	}
	server, err := edge.NewEchoServer(hub)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		serving.Wait()
		hub.Close()
	})
	return ln.Addr().String()
}
