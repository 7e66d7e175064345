package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aegisx/pushd/internal/bench"
)

// benchReport is what a bench prints.
type benchReport struct {
	Scenario string `json:"scenario"`
	// URL and Server are empty where they were not loaded.
	URL     string      `json:"url,omitempty"`
	Server  string      `json:"server,omitempty"`
	Tenant  string      `json:"tenant"`
	Started time.Time   `json:"started"`
	Result  benchResult `json:"result"`
}

// benchResult is what a scenario measured. Its JSON has all of it.
type benchResult interface {
	// rows are what people read: a name and a text each.
	rows() [][2]string
}

// targets says what is loaded.
func (r *benchReport) targets() []string {
	var all []string
	if r.URL != "" {
		all = append(all, r.URL)
	}
	if r.Server != "" {
		all = append(all, "the Control API at "+r.Server)
	}
	return all
}

// write writes the result, in one piece.
func (r *benchReport) write(w io.Writer, output outputFormat) error {
	if output == outputJSON {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
		return nil
	}
	var b strings.Builder
	for _, row := range r.Result.rows() {
		fmt.Fprintf(&b, "%-11s %s\n", row[0], row[1])
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// Results as they are printed; JSON has the fields of package bench.
type (
	connectResult struct{ bench.ConnectResult }
	trafficResult struct{ bench.TrafficResult }
	notifyResult  struct{ bench.NotifyResult }
)

func (r connectResult) rows() [][2]string {
	rows := [][2]string{
		{"connected", fmt.Sprintf("%d clients in %.2f s, %.0f/s", r.Clients, r.Seconds, r.PerSecond)},
		{"latency", latencyText(r.Latency)},
	}
	if r.HeldSeconds > 0 {
		rows = append(rows, [2]string{"held", fmt.Sprintf("%.1f s", r.HeldSeconds)})
	}
	return closingRows(rows, r.CPUMicros, "connection", r.Stopped)
}

func (r trafficResult) rows() [][2]string {
	return closingRows([][2]string{
		{"messages", fmt.Sprintf("%d in %.2f s, %.0f/s", r.Messages, r.Seconds, r.MessagesPerSecond)},
		{"deliveries", fmt.Sprintf("%d, %.0f/s", r.Deliveries, r.DeliveriesPerSecond)},
		{"latency", latencyText(r.Latency)},
		{"call", latencyText(r.Call)},
	}, r.CPUMicros, "delivery", r.Stopped)
}

func (r notifyResult) rows() [][2]string {
	return closingRows([][2]string{
		{"calls", fmt.Sprintf("%d in %.2f s, %.0f/s", r.Calls, r.Seconds, r.CallsPerSecond)},
		{"call", latencyText(r.Call)},
	}, r.CPUMicros, "call", r.Stopped)
}

// closingRows adds what all results may end with.
func closingRows(rows [][2]string, cpu float64, per string, stopped bool) [][2]string {
	if cpu > 0 {
		rows = append(rows, [2]string{"server CPU", fmt.Sprintf("%.1f µs per %s", cpu, per)})
	}
	if stopped {
		rows = append(rows, [2]string{"stopped", "early, by an interrupt"})
	}
	return rows
}

func latencyText(l bench.Latency) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, max %s",
		microsText(l.P50), microsText(l.P90), microsText(l.P99), microsText(l.P999), microsText(l.Max))
}

// microsText prints a number of microseconds in the unit that suits it.
func microsText(micros float64) string {
	switch {
	case micros < 1e3:
		return fmt.Sprintf("%.0f µs", micros)
	case micros < 1e6:
		return fmt.Sprintf("%.2f ms", micros/1e3)
	default:
		return fmt.Sprintf("%.2f s", micros/1e6)
	}
}
