package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// report is all that a run measured.
type report struct {
	floorKind string
	rounds    int
	started   time.Time
	outcomes  []*outcome
}

func newReport(st *stand, sc scale) *report {
	return &report{floorKind: st.floorKind, rounds: sc.rounds, started: time.Now()}
}

// print writes the table.
func (r *report) print(out io.Writer) error {
	if len(r.outcomes) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := [][]string{{"work", "floor", "pushd", "ratio", "goal", ""}}
	for _, o := range r.outcomes {
		rows = append(rows, o.cells())
	}
	for _, cells := range rows {
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t")); err != nil {
			return fmt.Errorf("print the table: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	_, err := fmt.Fprintf(out, "\n%s/%s, %d CPUs, %s; floor in %s; median of up to %d rounds, generator on the same machine, %.0f s in all\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), r.floorKind, r.rounds, time.Since(r.started).Seconds())
	if err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// cells returns one line of the table.
func (o *outcome) cells() []string {
	floor := o.row.show(figures(o.floor))
	if m := figures(o.merged); m != nil {
		floor += fmt.Sprintf(" (%.2f merged)", m[0])
	}
	ratio := "–"
	if len(o.floor) > 0 {
		ratio = fmt.Sprintf("%.2f", o.ratio(0))
	}
	goal, met := o.goal()
	verdict := "met"
	switch {
	case goal == "":
		verdict = ""
	case !met:
		verdict = "MISSED"
	}
	return []string{o.row.work, floor, o.row.show(figures(o.pushd)), ratio, goal, verdict}
}

// show writes the figures of a row.
func (r row) show(figures []float64) string {
	if figures == nil {
		return "–"
	}
	parts := make([]string, len(figures))
	for i, f := range figures {
		parts[i] = fmt.Sprintf(r.metrics[i].format, f)
	}
	return strings.Join(parts, ", ")
}

// goal says what is aimed at, and whether it was reached.
func (o *outcome) goal() (text string, met bool) {
	var goals []string
	met = true
	figures := figures(o.pushd)
	for i, m := range o.row.metrics {
		switch m.bound {
		case atMost:
			goals = append(goals, "≤ "+fmt.Sprintf(m.format, m.goal))
			met = met && figures[i] <= m.goal
		case atLeast:
			goals = append(goals, "≥ "+fmt.Sprintf(m.format, m.goal))
			met = met && figures[i] >= m.goal
		case atMostFloors:
			goals = append(goals, fmt.Sprintf("≤ %.2f × floor", m.goal))
			met = met && o.ratio(i) <= m.goal
		case atLeastFloors:
			goals = append(goals, fmt.Sprintf("≥ %.2f × floor", m.goal))
			met = met && o.ratio(i) >= m.goal
		case noGoal:
		}
	}
	return strings.Join(goals, ", "), met
}

// The JSON form of a report.
type (
	jsonReport struct {
		Started time.Time `json:"started"`
		Machine string    `json:"machine"`
		CPUs    int       `json:"cpus"`
		Go      string    `json:"go"`
		Floor   string    `json:"floor"`
		Rows    []jsonRow `json:"rows"`
	}
	jsonRow struct {
		Work string `json:"work"`
		Goal string `json:"goal"`
		Met  bool   `json:"met"`
		// Ratio is that of the first figure, pushd by floor; 0 without a floor.
		Ratio float64 `json:"ratio,omitzero"`
		// Medians by the name of the figure.
		Floor  map[string]float64 `json:"floor,omitempty"`
		Merged map[string]float64 `json:"floor_merged,omitempty"`
		Pushd  map[string]float64 `json:"pushd"`
		// All that is known of each round.
		FloorRuns []any `json:"floor_runs,omitempty"`
		PushdRuns []any `json:"pushd_runs"`
	}
)

// write writes everything as JSON.
func (r *report) write(path string) error {
	all := jsonReport{
		Started: r.started, Machine: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Floor: r.floorKind,
	}
	for _, o := range r.outcomes {
		goal, met := o.goal()
		row := jsonRow{
			Work: o.row.work, Goal: goal, Met: met,
			Floor: o.named(o.floor), Merged: o.named(o.merged), Pushd: o.named(o.pushd),
			FloorRuns: details(o.floor), PushdRuns: details(o.pushd),
		}
		if len(o.floor) > 0 {
			row.Ratio = o.ratio(0)
		}
		all.Rows = append(all.Rows, row)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil { //nolint:gosec // Figures for everybody.
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

// named returns the medians by name; nil for no samples.
func (o *outcome) named(samples []sample) map[string]float64 {
	medians := figures(samples)
	if medians == nil {
		return nil
	}
	named := make(map[string]float64, len(medians))
	for i, m := range o.row.metrics {
		named[m.name] = medians[i]
	}
	return named
}

func details(samples []sample) []any {
	all := make([]any, len(samples))
	for i, s := range samples {
		all[i] = s.detail
	}
	return all
}
