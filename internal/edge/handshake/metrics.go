package handshake

import "github.com/prometheus/client_golang/prometheus"

// metrics counts how handshakes end; each ends in one of the four.
type metrics struct {
	upgraded, passed, aborted prometheus.Counter
	refused                   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		upgraded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_handshake_upgraded_total", Help: "Handshakes answered with 101.",
		}),
		passed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_handshake_passed_total", Help: "First requests for another path than the WebSocket ones.",
		}),
		aborted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_handshake_aborted_total", Help: "Sockets that broke during the handshake.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_handshake_rejected_total", Help: "Handshakes refused with an HTTP status, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range reasons() {
		m.refused.WithLabelValues(string(r)) // so that each is there from the start, as 0
	}
	if reg != nil {
		reg.MustRegister(m.upgraded, m.passed, m.aborted, m.refused)
	}
	return m
}

func (m *metrics) rejected(r Reason) { m.refused.WithLabelValues(string(r)).Inc() }
