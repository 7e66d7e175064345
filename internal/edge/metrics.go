package edge

import (
	"strconv"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for giving up a message; they are metric labels.
const (
	dropInboxFull    = "inbox_full"
	dropExpired      = "expired"
	dropSlowConsumer = "slow_consumer"
	dropGone         = "gone"
	dropLate         = "late"
)

// Reasons for refusing a socket before or right after the upgrade.
const (
	refuseBusy         = "busy"
	refuseFull         = "node_full"
	refuseDraining     = "draining"
	refuseNotReady     = "not_ready"
	refuseAuthFailures = "auth_failures"
	refuseUserLimit    = "user_limit"
	refuseInternal     = "internal"
	refuseTLS          = "tls"
	refuseMemory       = "memory"
	refuseHTTPBusy     = "http_busy"
	refuseRate         = "accept_rate"
)

type metrics struct {
	opened        prometheus.Counter
	closedByCode  *prometheus.CounterVec
	droppedBy     *prometheus.CounterVec
	refusedBy     *prometheus.CounterVec
	tokensRefused *prometheus.CounterVec
	errorReplies  *prometheus.CounterVec
	gaps          *prometheus.CounterVec
	memoryLevel   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_edge_opened_total", Help: "Connections registered.",
		}),
		closedByCode: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_closed_total", Help: "Connections ended, by the code of the first close frame and, for a code of this service, its reason; 1006: without one, by either side; other: a code of the client's own.",
		}, []string{"code", "reason"}),
		droppedBy: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_dropped_total", Help: "Messages given up, by reason.",
		}, []string{"reason"}),
		refusedBy: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_refused_total", Help: "Sockets refused by the node's limits, by reason.",
		}, []string{"reason"}),
		tokensRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_tokens_refused_total", Help: "Connections closed for their token, by close code.",
		}, []string{"code"}),
		errorReplies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_errors_total", Help: "Error replies to clients, by code.",
		}, []string{"code"}),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_edge_gaps_total", Help: "Gaps in what is stored that were announced to clients, by reason.",
		}, []string{"reason"}),
		memoryLevel: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_memory_level",
			Help: "0 below 70 % of GOMEMLIMIT; 1: nothing is compressed; 2: new connections get 503; 3: those that hold most are closed.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.opened, m.closedByCode, m.droppedBy, m.refusedBy, m.tokensRefused, m.errorReplies, m.gaps, m.memoryLevel)
	}
	return m
}

// closed counts a connection. reason is what the close frame says.
func (m *metrics) closed(code ws.StatusCode, reason string) {
	if code < closeDrain {
		reason = "" // which rule of the protocol was broken is no label
	}
	label := "other" // a client may make up thousands of codes
	if code < 1015 || closeReason(code) != "" {
		label = strconv.Itoa(int(code))
	}
	m.closedByCode.WithLabelValues(label, reason).Inc()
}

func (m *metrics) tokenRefused(code ws.StatusCode) {
	m.tokensRefused.WithLabelValues(strconv.Itoa(int(code))).Inc()
}

func (m *metrics) dropped(reason string, messages int) {
	m.droppedBy.WithLabelValues(reason).Add(float64(messages))
}

func (m *metrics) refused(reason string) { m.refusedBy.WithLabelValues(reason).Inc() }
