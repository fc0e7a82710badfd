package app

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// metrics are what the internal listener tells about the house. Every label comes from a short list of ours: a stranger cannot
// make a series.
type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	handler  http.Handler

	known  atomic.Pointer[map[labels]series] // read by every request, replaced when there is a new one
	growth sync.Mutex
}

// labels are those of an answer; series is where it counts. To find it by its labels each time would cost more than to count.
type labels struct {
	door   identity.Door
	op     string
	status int
}

type series struct {
	requests prometheus.Counter
	took     prometheus.Observer
}

func newMetrics(h *House) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_requests_total", Help: "Requests answered, by door, operation and status.",
		}, []string{"door", "op", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_request_seconds", Help: "How long answers took, by door.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .25, .5, 1, 5, 15},
		}, []string{"door"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_refusals_total", Help: "Refusals, by door and the reason that the core gave.",
		}, []string{"door", "reason"}),
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		m.requests, m.took, m.refused, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("gatehouse_hashes_running", "Password hashes under way.", func() float64 { return float64(h.pool.Stats().Running) }),
		gauge("gatehouse_hashes_waiting", "Sign-ins that wait for a hash.", func() float64 { return float64(h.pool.Stats().Waiting) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gatehouse_hashes_refused_total", Help: "Sign-ins sent away because the queue was full."},
			func() float64 { return float64(h.pool.Stats().Refused) }),
		gauge("gatehouse_feed_age_seconds", "Since the change feed was last read; over 5 the node is not ready.", func() float64 { return h.Feed.Fresh().Seconds() }),
	)
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

func (m *metrics) count(e *httpkit.Event, status int, took time.Duration) {
	s := m.series(labels{e.Door, e.Op, status})
	s.requests.Inc()
	s.took.Observe(took.Seconds())
	if e.Refused {
		m.refused.WithLabelValues(string(e.Door), e.Kind.Error()).Inc()
	}
}

func (m *metrics) series(l labels) series {
	if known := m.known.Load(); known != nil {
		if s, ok := (*known)[l]; ok {
			return s
		}
	}
	m.growth.Lock()
	defer m.growth.Unlock()
	grown := map[labels]series{}
	if known := m.known.Load(); known != nil {
		maps.Copy(grown, *known)
	}
	s := series{m.requests.WithLabelValues(string(l.door), l.op, strconv.Itoa(l.status)), m.took.WithLabelValues(string(l.door))}
	grown[l] = s
	m.known.Store(&grown)
	return s
}
