package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/bench"
	"github.com/aegisx/pushd/test/harness"
)

// sample is what one run of one row measured.
type sample struct {
	figures []float64
	detail  any
}

// outcome is what all rounds of a row measured.
type outcome struct {
	row                  row
	floor, merged, pushd []sample
}

// matching returns the rows whose name matches; nil matches all.
func matching(all []row, match *regexp.Regexp) []row {
	if match == nil {
		return all
	}
	return slices.DeleteFunc(all, func(r row) bool { return !match.MatchString(r.work) })
}

// measure runs all rows, each with its floor, round by round. With an error
// comes what was measured until then.
func measure(ctx context.Context, st *stand, sc scale, rows []row, d *display) (*report, error) {
	rep := newReport(st, sc)
	defer d.clear()
	for _, r := range rows {
		o := &outcome{row: r}
		rounds := sc.rounds
		if r.once {
			rounds = 1
		}
		for i := range rounds {
			if i > 0 && time.Since(rep.started) > sc.budget {
				break // A slow machine: rather fewer rounds than no figures.
			}
			if err := o.round(ctx, st, i, d); err != nil {
				return rep, fmt.Errorf("%s: %w", r.work, err)
			}
		}
		rep.outcomes = append(rep.outcomes, o)
	}
	return rep, nil
}

// round measures floor and pushd once each.
func (o *outcome) round(ctx context.Context, st *stand, round int, d *display) error {
	if !o.row.floorless {
		if err := o.measureFloor(ctx, st, 1, &o.floor, d); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
	}
	if o.row.merge > 0 && round == 0 {
		if err := o.measureFloor(ctx, st, o.row.merge, &o.merged, d); err != nil {
			return fmt.Errorf("floor, merged: %w", err)
		}
	}
	if err := o.measurePushd(ctx, st, d); err != nil {
		return fmt.Errorf("pushd: %w", err)
	}
	return nil
}

func (o *outcome) measureFloor(ctx context.Context, st *stand, merge int, to *[]sample, d *display) (err error) {
	f, err := startFloor(ctx, st.floor, o.row.clients, payload, merge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	return o.measure(ctx, f, to, d.line(o.row.work+", floor"))
}

func (o *outcome) measurePushd(ctx context.Context, st *stand, d *display) (err error) {
	secret := rand.Text() + rand.Text()
	st.started++
	node, err := harness.Start(ctx, st.binary, st.dir, fmt.Sprintf("bench-%d", st.started),
		append([]string{"--jwt-secret", secret}, o.row.flags...)...)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, node.Stop()) }() //nolint:contextcheck // It has to be stopped when ctx has ended, too.
	_, calls, err := harness.Control(node.GRPC)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, calls.Close()) }()
	t := bench.Target{
		WebSocket: node.WebSocket(), Secret: []byte(secret), PID: node.PID, Store: pushdv1.Store_STORE_NEVER, Stream: o.row.sending.stream,
		Reads: func(ctx context.Context) (int64, error) {
			n, err := node.Metric(ctx, "pushd_cluster_history_reads_total", "")
			return int64(n), err
		},
	}
	if o.row.sending.stored {
		t.Store = pushdv1.Store_STORE_UNSPECIFIED
	}
	s, err := bench.NewPushd(ctx, t, calls)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer s.Close()
	return o.measure(ctx, s, &o.pushd, d.line(o.row.work+", pushd"))
}

func (o *outcome) measure(ctx context.Context, s bench.Server, to *[]sample, show func(bench.Progress)) error {
	figures, detail, err := o.row.measure(ctx, s, show)
	if err != nil {
		return err
	}
	*to = append(*to, sample{figures, detail})
	return nil
}

// figures returns the median of each figure; nil for no samples.
func figures(samples []sample) []float64 {
	if len(samples) == 0 {
		return nil
	}
	medians := make([]float64, len(samples[0].figures))
	for i := range medians {
		column := make([]float64, len(samples))
		for k, s := range samples {
			column[k] = s.figures[i]
		}
		medians[i] = median(column)
	}
	return medians
}

// ratio returns how many times a figure of the floor that of pushd was, the
// median of the rounds. Both must have been measured.
func (o *outcome) ratio(figure int) float64 {
	all := make([]float64, 0, len(o.floor))
	for i := range min(len(o.floor), len(o.pushd)) {
		all = append(all, o.pushd[i].figures[figure]/o.floor[i].figures[figure])
	}
	return median(all)
}

// median sorts numbers; there must be one.
func median(numbers []float64) float64 {
	slices.Sort(numbers)
	n := len(numbers)
	return (numbers[(n-1)/2] + numbers[n/2]) / 2
}
