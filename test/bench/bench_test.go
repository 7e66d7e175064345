package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/bench"
)

// smokeScale is enough to go through every line of code.
func smokeScale() scale {
	return scale{
		rounds: 1, few: 20, many: 30, users: 20, connects: 20, idleLow: 5, idleHigh: 20, settle: 100 * time.Millisecond,
		recoveries: 5, storm: 20, stormChannels: 4,
		warmup: 20 * time.Millisecond, duration: 100 * time.Millisecond, unicast: 100 * time.Millisecond,
	}
}

// TestRun measures a real pushd, in small, and reads what was written.
func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the cost of another process is known on Linux only")
	}
	st, err := newStand(t.Context(), t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	rep, err := measure(t.Context(), st, smokeScale(),
		matching(rows(smokeScale()), regexp.MustCompile("^(1 channel → 20|unicast|commands|RSS|connects|recovery|20 clients)")), newDisplay(nil))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := rep.print(&table); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := rep.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all jsonReport
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Rows) != 16 {
		t.Fatalf("%d rows, want 16:\n%s", len(all.Rows), table.String())
	}
	for _, r := range all.Rows {
		if !strings.Contains(table.String(), r.Work) {
			t.Errorf("the table has no %q:\n%s", r.Work, table.String())
		}
		withFloor := strings.Contains(r.Work, "channel →") || strings.HasPrefix(r.Work, "unicast") || strings.HasPrefix(r.Work, "connects")
		if len(r.Pushd) == 0 || len(r.PushdRuns) != 1 || withFloor && (r.Ratio <= 0 || len(r.FloorRuns) != 1) {
			t.Errorf("row %+v", r)
		}
	}
}

// TestFloors does the same by the loop in C and by its twin in Go: every
// message arrives once, in one piece.
func TestFloors(t *testing.T) {
	commands := map[string][]string{}
	if runtime.GOOS == "linux" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		commands["Go"] = []string{self, floorCommand}
	}
	if _, err := exec.LookPath("cc"); err == nil {
		command, kind, err := buildFloor(t.Context(), filepath.Join(t.TempDir(), "floor"))
		if err != nil || kind != "C" {
			t.Fatal(kind, err)
		}
		commands["C"] = command
	}
	for kind, command := range commands {
		for name, merge := range map[string]int{"one by one": 1, "merged": 16} {
			t.Run(kind+", "+name, func(t *testing.T) {
				o := bench.TrafficOptions{Clients: 20, PayloadBytes: payload, InFlight: 16, Duration: 100 * time.Millisecond}
				for _, run := range []func(f *floor) (bench.TrafficResult, error){
					func(f *floor) (bench.TrafficResult, error) { return bench.Fanout(t.Context(), f, o) },
					func(f *floor) (bench.TrafficResult, error) { return bench.Unicast(t.Context(), f, o) },
				} {
					f, err := startFloor(t.Context(), command, o.Clients, payload, merge)
					if err != nil {
						t.Fatal(err)
					}
					r, err := run(f)
					if err != nil || r.Messages < 16 {
						t.Errorf("result %+v, %v", r, err)
					}
					if err := f.stop(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func TestOutcome(t *testing.T) {
	o := &outcome{
		row: row{
			work: "work",
			metrics: []metric{
				{"cpu", "%.2f µs", atMostFloors, 1.15},
				{"rate", "%.0f k/s", atLeastFloors, 0.5},
				{"p50", "%.1f ms", atMost, 2},
				{"p99", "%.1f ms", atLeast, 8},
			},
		},
		floor:  []sample{{figures: []float64{4, 30, 1, 2}}, {figures: []float64{5, 30, 1, 2}}, {figures: []float64{10, 30, 1, 2}}},
		merged: []sample{{figures: []float64{0.5, 90, 1, 2}}},
		pushd:  []sample{{figures: []float64{4.4, 14, 1, 9}}, {figures: []float64{5, 16, 3, 9}}, {figures: []float64{20, 17, 1, 9}}},
	}
	want := []string{
		"work", "5.00 µs, 30 k/s, 1.0 ms, 2.0 ms (0.50 merged)", "5.00 µs, 16 k/s, 1.0 ms, 9.0 ms",
		"1.10", "≤ 1.15 × floor, ≥ 0.50 × floor, ≤ 2.0 ms, ≥ 8.0 ms", "met",
	}
	if got := o.cells(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("cells %q, want %q", got, want)
	}
	for name, spoil := range map[string]func(figures []float64){
		"ratio":    func(f []float64) { f[0] = 9 },
		"at least": func(f []float64) { f[1] = 10 },
		"at most":  func(f []float64) { f[2] = 3 },
		"too few":  func(f []float64) { f[3] = 7 },
	} {
		worse := &outcome{row: o.row, floor: o.floor}
		for range o.floor {
			f := []float64{4, 20, 1, 9}
			spoil(f)
			worse.pushd = append(worse.pushd, sample{figures: f})
		}
		if _, met := worse.goal(); met {
			t.Errorf("%s: met", name)
		}
	}
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-quick", "-run", "^uni", "-json", "x"}, os.Stderr)
	if err != nil || !s.quick || s.json != "x" || !s.rows.MatchString("unicast") {
		t.Errorf("%+v, %v", s, err)
	}
	var said strings.Builder
	for _, args := range [][]string{{"-run", "("}, {"more"}, {"-nothing"}} {
		if _, err := parse(args, &said); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
