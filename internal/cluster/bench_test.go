package cluster_test

import (
	"context"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
	"github.com/aegisx/pushd/internal/stats"
)

// counter counts deliveries.
type counter struct{ got chan struct{} }

func (c counter) Deliver(*message.Message)    { c.got <- struct{}{} }
func (counter) Totals() stats.Totals          { return stats.Totals{} }
func (counter) Doubt(address.Target)          {}
func (counter) Local(stats.Query) stats.Local { return stats.Local{} }

func benchRouter(b *testing.B) (*cluster.Router, counter) {
	b.Helper()
	return benchRouterWith(b, nil)
}

func benchRouterWith(b *testing.B, h *cluster.HistoryOptions) (*cluster.Router, counter) {
	b.Helper()
	o := cluster.DefaultOptions()
	o.NodeName, o.History = "bench", h
	c := counter{make(chan struct{}, 1<<20)}
	r, err := cluster.Start(b.Context(), o, c)
	if err != nil {
		b.Fatalf("start: %v", err)
	}
	b.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			b.Logf("close: %v", err)
		}
	})
	return r, c
}

func benchTarget(b *testing.B) address.Target {
	b.Helper()
	id, err := address.ParseTenantID("acme")
	if err != nil {
		b.Fatalf("tenant: %v", err)
	}
	target, err := address.TenantTarget(id)
	if err != nil {
		b.Fatalf("target: %v", err)
	}
	return target
}

func acquireLive(b *testing.B, r *cluster.Router, target address.Target) {
	b.Helper()
	ready := make(chan error, 1)
	if !r.Acquire(target, func(err error) { ready <- err }) {
		if err := <-ready; err != nil {
			b.Fatalf("acquire: %v", err)
		}
	}
}

// BenchmarkRoundTrip is one message at a time, from Publish to Deliver.
func BenchmarkRoundTrip(b *testing.B) {
	r, c := benchRouter(b)
	target := benchTarget(b)
	acquireLive(b, r, target)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Publish(b.Context(), msg(target, `{"type":"x"}`)); err != nil {
			b.Fatalf("publish: %v", err)
		}
		<-c.got
	}
}

// BenchmarkPublishParallel shows what the group flush saves.
func BenchmarkPublishParallel(b *testing.B) {
	r, _ := benchRouter(b)
	target := benchTarget(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Publish(b.Context(), msg(target, `{"type":"x"}`)); err != nil {
				b.Errorf("publish: %v", err)
				return
			}
		}
	})
}

// benchStore is a router that stores on disk, and a user whose inbox is kept.
func benchStore(b *testing.B) (*cluster.Router, counter, address.Target) {
	b.Helper()
	r, c := benchRouterWith(b, &cluster.HistoryOptions{
		Rules: history.Rules{Inbox: history.DefaultLimit()}, StoreDir: b.TempDir(),
	})
	u, err := address.ParseUserID("ann")
	if err != nil {
		b.Fatalf("user: %v", err)
	}
	target, err := address.UserTarget(benchTarget(b).Tenant(), u)
	if err != nil {
		b.Fatalf("target: %v", err)
	}
	acquireLive(b, r, target)
	return r, c, target
}

// BenchmarkStoreRoundTrip is one stored message at a time, from Publish to Deliver.
func BenchmarkStoreRoundTrip(b *testing.B) {
	r, c, target := benchStore(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Publish(b.Context(), msg(target, `{"type":"x"}`)); err != nil {
			b.Fatalf("publish: %v", err)
		}
		<-c.got
	}
}

// BenchmarkStoreParallel is many at once.
func BenchmarkStoreParallel(b *testing.B) {
	r, _, target := benchStore(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Publish(b.Context(), msg(target, `{"type":"x"}`)); err != nil {
				b.Errorf("publish: %v", err)
				return
			}
		}
	})
}

// BenchmarkRead20 reads twenty messages of one target.
func BenchmarkRead20(b *testing.B) {
	r, _, target := benchStore(b)
	for range 100 {
		if _, err := r.Publish(b.Context(), msg(target, `{"type":"x"}`)); err != nil {
			b.Fatalf("publish: %v", err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(b.Context(), target, history.Query{After: 80, Limit: 100, Bytes: 1 << 20}); err != nil {
			b.Fatalf("read: %v", err)
		}
	}
}

// BenchmarkAcquireLive is the cost of one more member of a target.
func BenchmarkAcquireLive(b *testing.B) {
	r, _ := benchRouter(b)
	target := benchTarget(b)
	acquireLive(b, r, target)
	b.ReportAllocs()
	ready := func(error) {}
	for b.Loop() {
		r.Acquire(target, ready)
		r.Release(target)
	}
}
