package main

import (
	"context"
	"fmt"

	"github.com/aegisx/pushd/internal/bench"
)

// commandsAlone is a stream of commands for users of whom nobody is there.
func commandsAlone(sc scale, by sending, goals [2]metric) row {
	return row{
		work:      fmt.Sprintf("commands for absent users, %s, saturated, %d in flight", by, pipelined),
		sending:   by,
		metrics:   goals[:],
		floorless: true,
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			r, err := bench.Notify(ctx, s, bench.NotifyOptions{Users: sc.users, TrafficOptions: bench.TrafficOptions{
				PayloadBytes: payload, InFlight: pipelined, Warmup: sc.warmup, Duration: sc.unicast, Progress: show,
			}})
			return []float64{r.CPUMicros, r.CallsPerSecond / 1000}, r, err
		},
	}
}

// recovery is one client after the other that recovers, on a channel that has a
// member, or on one that nobody is in.
func recovery(sc scale, watched bool) row {
	source := "store"
	if watched {
		source = "memory"
	}
	return historyRow(
		fmt.Sprintf("recovery of %d missed messages from the %s, one after the other", missed, source),
		[]metric{p50(noGoal, 0), p99(noGoal, 0), {name: "cpu_micros_per_client", format: "%.0f CPU-µs"}},
		bench.RecoverOptions{
			Clients: sc.recoveries, Channels: sc.recoveries, Missed: missed, PayloadBytes: payload, InFlight: 1, Watched: watched,
		},
		func(r bench.RecoverResult) []float64 {
			return []float64{millis(r.Recovery.P50), millis(r.Recovery.P99), r.CPUMicros}
		},
	)
}

// storm is many clients that come back at once, each with a position.
func storm(sc scale) row {
	return historyRow(
		fmt.Sprintf("%d clients of %d channels come back at once, %d missed messages each", sc.storm, sc.stormChannels, missed),
		[]metric{
			{"seconds", "%.2f s", atMost, 30},
			{name: "cpu_seconds", format: "%.2f CPU-s"},
			{"reads_per_channel", "%.2f reads per channel", atMost, 2},
		},
		bench.RecoverOptions{
			Clients: sc.storm, Channels: sc.stormChannels, Missed: missed, PayloadBytes: payload, InFlight: min(sc.storm, stormInFlight),
		},
		func(r bench.RecoverResult) []float64 { return []float64{r.Seconds, r.CPUSeconds, r.ReadsPerChannel} },
	)
}

// stormInFlight is how many of a storm are between connect and the last message at
// once. A node closes the oldest of more than 4096 handshakes.
const stormInFlight = 2000

func historyRow(work string, metrics []metric, o bench.RecoverOptions, figures func(bench.RecoverResult) []float64) row {
	return row{
		work: work, metrics: metrics, floorless: true,
		sending: sending{stored: true}, flags: keptChannels(),
		measure: func(ctx context.Context, s bench.Server, show func(bench.Progress)) ([]float64, any, error) {
			keeper, ok := s.(bench.HistoryServer)
			if !ok {
				return nil, nil, fmt.Errorf("%T has no history", s)
			}
			o := o
			o.Progress = show
			r, err := bench.Recover(ctx, keeper, o)
			if err != nil {
				return nil, nil, err
			}
			return figures(r), r, nil
		},
	}
}
