package bench

import (
	"testing"
	"time"
)

func TestBucketsFollowOneAnother(t *testing.T) {
	last := -1
	for shift := range maxBits {
		for _, step := range []int64{0, 1, 7} {
			d := time.Duration(int64(1)<<shift + step)
			i := bucketOf(d)
			if end := bucketEnd(i); end < d || float64(end-d) > float64(d)/subBuckets+1 {
				t.Errorf("%d ns are in bucket %d, which ends at %d ns", d, i, end)
			}
			if i > 0 && bucketEnd(i-1) >= d {
				t.Errorf("%d ns belong below bucket %d", d, i)
			}
			if i < last {
				t.Errorf("%d ns are in bucket %d, below those before", d, i)
			}
			if step == 0 {
				last = i
			}
		}
	}
}

func TestBucketOfExtremes(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-time.Second, 0, 1<<63 - 1} {
		h.record(d) // must not fall out of the buckets
	}
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("p50 = %d, want 0", got)
	}
	if got := len(h.buckets); bucketOf(1<<63-1) != got-1 {
		t.Errorf("the longest is in bucket %d of %d", bucketOf(1<<63-1), got)
	}
}

func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{"nothing", nil, 0.5, 0},
		{"one", []time.Duration{time.Millisecond}, 0.99, time.Millisecond},
		{"median of three", []time.Duration{9 * time.Millisecond, time.Microsecond, time.Millisecond}, 0.5, time.Millisecond},
		{"median of an even number is the lower", []time.Duration{time.Second, time.Millisecond}, 0.5, time.Millisecond},
		{"all", []time.Duration{time.Second, time.Millisecond}, 1, time.Second},
		{"one outlier of 200 is not the p99", append(many(199, time.Millisecond), time.Second), 0.99, time.Millisecond},
		{"three outliers of 200 are", append(many(197, time.Millisecond), many(3, time.Second)...), 0.99, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h histogram
			for _, v := range c.values {
				h.record(v)
			}
			got := h.quantile(c.q)
			if got < c.want || float64(got) > float64(c.want)*(1+1.0/subBuckets) {
				t.Errorf("quantile(%g) = %s, want %s and at most 1.6 %% more", c.q, got, c.want)
			}
		})
	}
}

func many(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	var h histogram
	for i := range b.N {
		h.record(time.Duration(i))
	}
}
