package control

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// unknownMethod is the label of all calls of methods that do not exist.
const unknownMethod = "unknown"

type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	panics  prometheus.Counter
	// connections are the open ones; connectionsRefused counts those that were too
	// many.
	connections        prometheus.Gauge
	connectionsRefused prometheus.Counter
	// commands counts those of Publish streams; accepted are its counters of
	// what went well, by command. An unknown one never does.
	commands *prometheus.CounterVec
	accepted [commands]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_control_calls_total", Help: "Calls of the Control API that ended, by method and gRPC code.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pushd_control_call_seconds", Help: "How long unary calls took.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_control_panics_total", Help: "Calls that ended in a panic.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushd_control_connections", Help: "Open connections of the Control API.",
		}),
		connectionsRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_control_connections_refused_total", Help: "Connections of the Control API that were closed since there were too many.",
		}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_control_commands_total", Help: "Commands of Publish streams that were answered, by command and gRPC code.",
		}, []string{"command", "code"}),
	}
	for c := commandUnknown + 1; int(c) < commands; c++ {
		m.accepted[c] = m.commands.WithLabelValues(c.String(), codes.OK.String())
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.calls, m.seconds, m.panics, m.connections, m.connectionsRefused, m.commands} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// ended counts a call. Streams, which last as long as their caller likes, are
// not timed.
func (m *metrics) ended(of *method, code codes.Code, took time.Duration) {
	m.calls.WithLabelValues(of.name, code.String()).Inc()
	if !of.stream {
		m.seconds.WithLabelValues(of.name).Observe(took.Seconds())
	}
}

// refused counts a command of a stream.
func (m *metrics) refused(c command, code codes.Code) {
	m.commands.WithLabelValues(c.String(), code.String()).Inc()
}
