package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aegisx/pushd/internal/bench"
)

const (
	// payload is the size of every message, in bytes of JSON.
	payload = 128
	// connectsInFlight is how many connections are made at once where making
	// them is measured.
	connectsInFlight = 64
	// callers is how many unary calls are under way at once.
	callers = 64
	// merged is how many messages the floor may put into one write where pushd
	// may too.
	merged = 16
	// pipelined is how many commands of a stream are under way at once, as many as
	// a server takes before it waits.
	pipelined = 256
	// missed is how many messages a client recovers.
	missed = 20
)

// keptChannels are the flags of a node whose channels of the benchmark have a
// history. Users have one by default.
func keptChannels() []string { return []string{"--channel-history", "tenant:bench:*=100/24h"} }

// scale is how much is measured.
type scale struct {
	rounds                    int
	budget                    time.Duration // after which no second round begins
	few, many                 int           // clients of the fan-out
	users                     int           // clients of the unicast
	connects                  int
	idleLow, idleHigh         int
	recoveries                int           // clients that recover one after the other
	storm, stormChannels      int           // clients that come back at once
	settle                    time.Duration // for the memory to come to rest
	warmup, duration, unicast time.Duration
}

func fullScale() scale {
	return scale{
		rounds: 3, budget: 340 * time.Second, few: 1000, many: 10_000, users: 1000, connects: 10_000, idleLow: 2000, idleHigh: 12_000, settle: 45 * time.Second,
		recoveries: 400, storm: 10_000, stormChannels: 100,
		warmup: 500 * time.Millisecond, duration: 2 * time.Second, unicast: 1500 * time.Millisecond,
	}
}

func quickScale() scale {
	return scale{
		rounds: 1, few: 1000, many: 3000, users: 300, connects: 3000, idleLow: 500, idleHigh: 3000, settle: 3 * time.Second,
		recoveries: 100, storm: 2000, stormChannels: 20,
		warmup: 200 * time.Millisecond, duration: 700 * time.Millisecond, unicast: 500 * time.Millisecond,
	}
}

// bound is how a figure is held against its goal.
type bound int

const (
	noGoal bound = iota
	atMost
	atLeast
	// These two are so many times the floor of the same run: machines differ.
	atMostFloors
	atLeastFloors
)

// metric is one figure of a row.
type metric struct {
	// name stands in the JSON; format shows the figure.
	name, format string
	bound        bound
	goal         float64
}

// onFloor is a goal that was set on a machine where the floor was this one.
func onFloor(goal, floor float64) float64 { return goal / floor }

// row is one line of the table.
type row struct {
	work string
	// clients is how many connections the floor must take.
	clients int
	// metrics belong to what measure returns; the ratio is that of the first.
	metrics []metric
	// floorless: a loop of writes does no such work.
	floorless bool
	// sending is how pushd is given messages; flags are what it is started with.
	sending sending
	flags   []string
	// merge is how many messages the floor may merge in an extra run. 0: none.
	merge int
	// once: further rounds would say the same.
	once bool
	// measure returns the figures, and all that is known.
	measure func(ctx context.Context, s bench.Server, show func(bench.Progress)) (figures []float64, detail any, err error)
}

// sending is how messages are given to pushd.
type sending struct {
	// stored leaves it to the rules whether messages are stored; otherwise that is
	// forbidden.
	stored bool
	// stream sends commands on one Publish stream.
	stream bool
}

// String ends the name of a row.
func (s sending) String() string {
	text := "unary gRPC"
	if s.stream {
		text = "Publish stream"
	}
	if s.stored {
		text += ", stored"
	}
	return text
}

func rows(sc scale) []row {
	return []row{
		paced(sc, sc.few, 20),
		paced(sc, sc.many, 2),
		saturated(sc, sc.few, 16, onFloor(0.7, 2.7)),
		saturated(sc, sc.many, 4, onFloor(2, 4.5)),
		unicastSaturated(sc, sending{}, callers, goalOfCalls()),
		unicastPaced(sc, sending{}, 2000, goalsOfCalls()),
		idle(sc, sc.idleLow, sc.idleHigh),
		connects(sc),
		unicastSaturated(sc, sending{stored: true}, callers, perCall(noGoal, 0)),
		unicastPaced(sc, sending{stored: true}, 2000, [2]metric{p50(noGoal, 0), p99(noGoal, 0)}),
		unicastSaturated(sc, sending{stream: true}, pipelined, perCall(atMostFloors, onFloor(8, 3.3))),
		unicastSaturated(sc, sending{stream: true, stored: true}, pipelined, perCall(noGoal, 0)),
		commandsAlone(sc, sending{stream: true}, [2]metric{perCommand(atMost, 8), perSecond(atLeast, 100)}),
		commandsAlone(sc, sending{stream: true, stored: true}, [2]metric{perCommand(noGoal, 0), perSecond(noGoal, 0)}),
		storedPaced(sc, sc.few, 20),
		recovery(sc, true),
		recovery(sc, false),
		storm(sc),
	}
}

// growth holds the same number of deliveries a second to more and more
// receivers, and more and more connections.
func growth(sc scale) []row {
	const perSecond = 20_000
	var all []row
	for _, clients := range []int{100, 300, 1000, 3000, 10_000} {
		all = append(all, paced(sc, clients, perSecond/float64(clients)))
	}
	from := 1000
	for _, to := range []int{4000, 9000, 19_000} {
		all = append(all, idle(sc, from, to))
		from = to
	}
	return all
}

// cpuPerDelivery is the figure of the fan-out rows.
func cpuPerDelivery(b bound, goal float64) metric {
	return metric{"cpu_micros_per_delivery", "%.2f CPU-µs", b, goal}
}

func paced(sc scale, clients int, rate float64) row {
	return row{
		work:    fmt.Sprintf("1 channel → %d clients, paced %.4g/s, %d B", clients, rate, payload),
		clients: clients,
		metrics: []metric{
			cpuPerDelivery(atMostFloors, 1.15),
			{name: "p50_ms", format: "p50 %.1f"},
			{name: "p99_ms", format: "p99 %.1f ms"},
		},
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Fanout(ctx, s, bench.TrafficOptions{
				Clients: clients, PayloadBytes: payload, Rate: rate, InFlight: callers,
				Warmup: 2 * sc.warmup, Duration: sc.duration, Progress: show,
			})
			return []float64{r.CPUMicros, millis(r.Latency.P50), millis(r.Latency.P99)}, r, err
		},
	}
}

// storedPaced is paced on a channel with a history.
func storedPaced(sc scale, clients int, rate float64) row {
	r := paced(sc, clients, rate)
	r.work = fmt.Sprintf("1 channel → %d clients, stored, paced %.4g/s", clients, rate)
	r.sending, r.flags = sending{stored: true}, keptChannels()
	r.metrics[0] = cpuPerDelivery(noGoal, 0)
	return r
}

func saturated(sc scale, clients, inFlight int, goal float64) row {
	return row{
		work:    fmt.Sprintf("1 channel → %d clients, saturated, %d in flight", clients, inFlight),
		clients: clients,
		metrics: []metric{
			cpuPerDelivery(atMostFloors, goal),
			{name: "thousand_deliveries_per_second", format: "%.0f k/s"},
		},
		merge: min(inFlight, merged),
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Fanout(ctx, s, bench.TrafficOptions{
				Clients: clients, PayloadBytes: payload, InFlight: inFlight,
				Warmup: sc.warmup, Duration: sc.duration, Progress: show,
			})
			return []float64{r.CPUMicros, r.DeliveriesPerSecond / 1000}, r, err
		},
	}
}

// The figures of calls and commands.
func perCall(b bound, goal float64) metric {
	return metric{"cpu_micros_per_call", "%.1f CPU-µs", b, goal}
}

func perCommand(b bound, goal float64) metric {
	return metric{"cpu_micros_per_command", "%.1f CPU-µs", b, goal}
}

func perSecond(b bound, goal float64) metric {
	return metric{"thousand_commands_per_second", "%.1f k/s", b, goal}
}

func p50(b bound, goal float64) metric { return metric{"p50_ms", "p50 %.2f", b, goal} }
func p99(b bound, goal float64) metric { return metric{"p99_ms", "p99 %.2f ms", b, goal} }

// The goals of unary calls for what is not stored.
func goalOfCalls() metric { return perCall(atMostFloors, onFloor(40, 3.3)) }

func goalsOfCalls() [2]metric {
	return [2]metric{p50(atMostFloors, onFloor(0.2, 0.10)), p99(atMostFloors, onFloor(1.0, 0.28))}
}

func unicastSaturated(sc scale, by sending, inFlight int, cpu metric) row {
	return row{
		work:    fmt.Sprintf("unicast to random users, %s, saturated, %d in flight", by, inFlight),
		clients: sc.users,
		sending: by,
		metrics: []metric{cpu, {name: "thousand_calls_per_second", format: "%.1f k/s"}},
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Unicast(ctx, s, bench.TrafficOptions{
				Clients: sc.users, PayloadBytes: payload, InFlight: inFlight,
				Warmup: sc.warmup, Duration: sc.unicast, Progress: show,
			})
			return []float64{r.CPUMicros, r.MessagesPerSecond / 1000}, r, err
		},
	}
}

func unicastPaced(sc scale, by sending, rate float64, times [2]metric) row {
	return row{
		work:    fmt.Sprintf("unicast to random users, %s, paced %g/s", by, rate),
		clients: sc.users,
		sending: by,
		metrics: []metric{times[0], times[1], {name: "cpu_micros_per_call", format: "%.0f CPU-µs"}},
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Unicast(ctx, s, bench.TrafficOptions{
				Clients: sc.users, PayloadBytes: payload, Rate: rate, InFlight: callers,
				Warmup: sc.warmup, Duration: sc.unicast, Progress: show,
			})
			return []float64{millis(r.Latency.P50), millis(r.Latency.P99), r.CPUMicros}, r, err
		},
	}
}

func idle(sc scale, low, high int) row {
	return row{
		work:      fmt.Sprintf("RSS per idle, joined connection, as settled, %d → %d", low, high),
		metrics:   []metric{{"bytes_per_connection", "%.0f B", atMost, 1024}},
		floorless: true,
		once:      true,
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Idle(ctx, s, bench.IdleOptions{
				Low: low, High: high, InFlight: connectsInFlight, Settle: sc.settle, Progress: show,
			})
			return []float64{r.PerConnection}, r, err
		},
	}
}

func connects(sc scale) row {
	return row{
		work:    fmt.Sprintf("connects with HS256 and one join, %d", sc.connects),
		clients: sc.connects,
		metrics: []metric{
			{"cpu_micros_per_connect", "%.1f CPU-µs", atMostFloors, onFloor(60, 10.8)},
			{"thousand_connects_per_second", "%.1f k/s", atLeastFloors, onFloor(15, 31)},
		},
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Connect(ctx, s, bench.ConnectOptions{
				Clients: sc.connects, InFlight: connectsInFlight, Progress: show,
			})
			return []float64{r.CPUMicros, r.PerSecond / 1000}, r, err
		},
	}
}

func millis(micros float64) float64 { return micros / 1000 }
