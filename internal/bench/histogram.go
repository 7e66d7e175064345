package bench

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// subBits is the resolution: each power of two has 64 buckets, so a figure
	// is at most 1.6 % too high.
	subBits    = 6
	subBuckets = 1 << subBits
	// maxBits bounds what is told apart: 2^42 ns are more than an hour.
	maxBits = 42
)

// histogram counts durations. Safe for concurrent use; the zero value is
// empty.
type histogram struct {
	buckets [(maxBits - subBits + 1) * subBuckets]atomic.Uint64
	count   atomic.Uint64
	max     atomic.Int64 // ns
}

// record counts d; what is below zero counts as zero.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.count.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// quantile returns the least duration that at least the share q of all don't
// exceed, rounded up to its bucket; 0 when nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.count.Load())))
	rank = max(rank, 1)
	var seen uint64
	for i := range h.buckets {
		seen += h.buckets[i].Load()
		if seen >= rank {
			return min(bucketEnd(i), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// bucketOf returns the bucket of d. Those of the first 2^subBits ns are 1 ns
// wide, after that every power of two doubles the width.
func bucketOf(d time.Duration) int {
	n := min(uint64(d), 1<<maxBits-1) //nolint:gosec // Not negative.
	shift := max(bits.Len64(n)-subBits-1, 0)
	return shift*subBuckets + int(n>>shift) //nolint:gosec // At most 2^(subBits+1).
}

// bucketEnd returns the largest duration in a bucket.
func bucketEnd(i int) time.Duration {
	shift := max(i/subBuckets-1, 0)
	return time.Duration((i-shift*subBuckets+1)<<shift - 1)
}

// Latency tells how durations are spread, in microseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	// P999 is exceeded by one in a thousand.
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func (h *histogram) latency() Latency {
	return Latency{
		P50:  micros(h.quantile(0.5)),
		P90:  micros(h.quantile(0.9)),
		P99:  micros(h.quantile(0.99)),
		P999: micros(h.quantile(0.999)),
		Max:  micros(time.Duration(h.max.Load())),
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
