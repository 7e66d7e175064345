package cluster

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aegisx/pushd/internal/address"
)

// Why a report of another node was dropped.
const (
	reportLate      = "late"      // nobody waits for it
	reportDuplicate = "duplicate" // the node had sent it
	reportForged    = "forged"    // no node of the roster says this
)

// Why a message was dropped.
const (
	dropMalformed   = "malformed"    // the envelope can't be read
	dropVersion     = "version"      // the envelope has another version
	dropForeign     = "foreign"      // the envelope doesn't fit its subject
	dropExpired     = "expired"      // the deadline has passed
	dropLaneFull    = "lane_full"    // the sink is too slow
	dropInboundFull = "inbound_full" // this node is too slow
	dropControlFull = "control_full" // too much talk between nodes
	dropUnavailable = "unavailable"  // NATS or the history did not take it, and nobody waits
)

// Who is asked for what is stored.
const (
	readDirect = "direct" // any server that has the stream
	readLeader = "leader" // the one that has all of it
)

type metrics struct {
	// By address.Kind; the first is not used.
	published, received           [address.KindAll + 1]prometheus.Counter
	dropped, reportsDropped       *prometheus.CounterVec
	readsDirect, readsLeader      prometheus.Counter
	reconnects, duplicateNodes    prometheus.Counter
	serverRestarts                prometheus.Counter
	interest, up                  prometheus.Gauge
	historyBytes, historyMaxBytes prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	published := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushd_cluster_published_total", Help: "Messages given to NATS.",
	}, []string{"kind"})
	received := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushd_cluster_received_total", Help: "Messages that came from NATS.",
	}, []string{"kind"})
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushd_cluster_history_reads_total", Help: "Questions to the servers of the history for what is stored.",
	}, []string{"server"})
	m := &metrics{
		readsDirect: reads.WithLabelValues(readDirect),
		readsLeader: reads.WithLabelValues(readLeader),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_cluster_dropped_total", Help: "Messages given up.",
		}, []string{"reason"}),
		reportsDropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_cluster_reports_dropped_total", Help: "Delivery reports of other nodes that were not used.",
		}, []string{"reason"}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_cluster_reconnects_total", Help: "Times that NATS came back.",
		}),
		duplicateNodes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_cluster_duplicate_nodes_total", Help: "Sightings of a second node under a name in use.",
		}),
		serverRestarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_cluster_server_restarts_total", Help: "Restarts of the embedded NATS server because nothing could be stored.",
		}),
		interest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_cluster_interest_subjects", Help: "Subjects this node subscribes for its members.",
		}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_cluster_up", Help: "1 while NATS is connected and knows all subscriptions.",
		}),
		historyBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_cluster_history_bytes", Help: "Bytes that are stored for clients.",
		}),
		historyMaxBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_cluster_history_max_bytes", Help: "Bytes that may be stored for clients; above that the oldest go.",
		}),
	}
	for k := address.KindUser; k <= address.KindAll; k++ {
		m.published[k] = published.WithLabelValues(k.String())
		m.received[k] = received.WithLabelValues(k.String())
	}
	if reg != nil {
		reg.MustRegister(published, received, reads, m.dropped, m.reportsDropped, m.reconnects, m.duplicateNodes,
			m.serverRestarts, m.interest, m.up, m.historyBytes, m.historyMaxBytes)
	}
	return m
}

func (m *metrics) dropReport(reason string) { m.reportsDropped.WithLabelValues(reason).Inc() }

func (m *metrics) drop(reason string) { m.dropped.WithLabelValues(reason).Inc() }
