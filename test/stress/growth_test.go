package stress_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// samplesTaken is how often the process is looked at.
	samplesTaken = 60
	// warmup is the share of the time that does not count.
	warmup = 0.2
	// maxGrowth is how far the memory may grow in the time that counts.
	maxGrowth = 0.05
	// moreGoroutines is how many more there may be at its end.
	moreGoroutines = 20
)

// sample is what a process has at a time.
type sample struct {
	at         time.Duration
	rss        int64 // bytes
	goroutines int
	files      int
}

// leastSamples is how many must be taken, however busy the machine is.
func leastSamples() int { return inLong(samplesTaken/2, 4) }

// sample looks at the node for as long as the load lasts, and until there are
// samples enough, and says how it is now and then.
func (s *soak) sample(ctx context.Context, t *testing.T, lasts time.Duration) []sample {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(lasts / samplesTaken)
	defer ticker.Stop()
	var all []sample
	for s.failure() == nil {
		select {
		case <-ticker.C:
			now := sample{
				at: time.Since(began), rss: rss(t, s.node), files: openFiles(t, s.node),
				goroutines: metric(ctx, t, s.node, "go_goroutines", ""),
			}
			all = append(all, now)
			if now.at >= lasts && len(all) >= leastSamples() {
				return all
			}
			if len(all)%(samplesTaken/10) == 0 {
				t.Logf("%6s: RSS %s, %d goroutines, %d descriptors, %d messages received",
					now.at.Round(time.Second), mib(now.rss), now.goroutines, now.files, s.received.Load())
			}
		case <-ctx.Done():
			return all
		}
	}
	return all
}

// checkGrowth fails if something grew after the warm-up.
func checkGrowth(t *testing.T, all []sample) {
	t.Helper()
	if len(all) < leastSamples() { // it ended early
		t.Fatalf("only %d samples", len(all))
	}
	if faults := growth(all[int(warmup*float64(len(all))):], suite.long); len(faults) > 0 {
		t.Errorf("%s in %+v", strings.Join(faults, ", "), all)
	}
}

// growth lists what grew. A short run says nothing of memory.
func growth(all []sample, memory bool) (faults []string) {
	quarter := max(1, len(all)/4)
	first, last := all[:quarter], all[len(all)-quarter:]
	goroutines := func(s sample) float64 { return float64(s.goroutines) }
	files := func(s sample) float64 { return float64(s.files) }
	if grown := middle(last, goroutines) - middle(first, goroutines); grown > moreGoroutines {
		faults = append(faults, fmt.Sprintf("%.0f more goroutines", grown))
	}
	if grown := middle(last, files) - middle(first, files); grown > moreGoroutines {
		faults = append(faults, fmt.Sprintf("%.0f more descriptors", grown))
	}
	if share := slope(all); memory && share > maxGrowth {
		faults = append(faults, fmt.Sprintf("memory grew by %.1f %%", 100*share))
	}
	return faults
}

// middle returns the median of a figure.
func middle(all []sample, of func(sample) float64) float64 {
	figures := make([]float64, 0, len(all))
	for _, s := range all {
		figures = append(figures, of(s))
	}
	return median(figures)
}

// slope returns by how much of itself the memory grew, by the straight line that
// fits best.
func slope(all []sample) float64 {
	var meanAt, meanRSS float64
	for _, s := range all {
		meanAt += s.at.Seconds() / float64(len(all))
		meanRSS += float64(s.rss) / float64(len(all))
	}
	var up, over float64
	for _, s := range all {
		d := s.at.Seconds() - meanAt
		up += d * (float64(s.rss) - meanRSS)
		over += d * d
	}
	return up / over * (all[len(all)-1].at - all[0].at).Seconds() / meanRSS
}

func TestGrowth(t *testing.T) {
	series := func(rss, goroutines, files int) []sample {
		var all []sample
		for i := range 40 {
			all = append(all, sample{
				at:  time.Duration(i) * time.Second,
				rss: int64(100<<20 + i*rss + i%3<<20), goroutines: 50 + i*goroutines + i%5, files: 1000 + i*files,
			})
		}
		return all
	}
	for name, c := range map[string]struct {
		all  []sample
		want string
	}{
		"flat":        {series(0, 0, 0), ""},
		"a little":    {series(100<<10, 0, 0), ""},
		"memory":      {series(200<<10, 0, 0), "memory grew"},
		"goroutines":  {series(0, 1, 0), "more goroutines"},
		"descriptors": {series(0, 0, 1), "more descriptors"},
	} {
		got := strings.Join(growth(c.all, true), ", ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
