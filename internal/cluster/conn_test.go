package cluster

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// TestClientDropsAreCounted fills the inbound channel while nobody reads.
func TestClientDropsAreCounted(t *testing.T) {
	o := DefaultOptions()
	o.NodeName, o.PublishTimeout = "n1", time.Minute
	log := slog.New(slog.DiscardHandler)
	srv, err := startEmbedded(t.Context(), o, newNATSLog(log, "n1", func() {}))
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	defer srv.stop(t.Context())
	m := newMetrics(nil)
	c, err := dial(o, srv, connEvents{down: func() {}, up: func() {}}, m, log)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer c.close()
	sub, err := c.subscribe(subjectAll)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	const over = 1000
	for range inboundDepth + over {
		if err := c.publish(subjectAll, nil); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	if err := c.flush(time.Minute); err != nil {
		t.Fatalf("flush: %v", err)
	}
	dropped := func() float64 {
		var d dto.Metric
		if err := m.dropped.WithLabelValues(dropInboundFull).Write(&d); err != nil {
			t.Fatalf("metric: %v", err)
		}
		return d.GetCounter().GetValue()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for dropped() != over {
		select {
		case <-tick.C:
			c.countDropped()
		case <-timeout:
			t.Fatalf("counted %v, want %d", dropped(), over)
		}
	}
	if err := sub.unsubscribe(); err != nil || len(c.slow) != 0 {
		t.Errorf("unsubscribe: %v, %d left", err, len(c.slow))
	}
}

func TestHostsHideCredentials(t *testing.T) {
	if got := hostsOf("nats://u:sesame@a:1, tls://token@b:2,:bad:"); fmt.Sprint(got) != "a:1,b:2" {
		t.Errorf("got %q", got)
	}
}
