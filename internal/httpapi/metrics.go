package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-dev/holdfast/internal/probe"
	"github.com/holdfast-dev/holdfast/internal/session"
)

const metricsTimeout = 5 * time.Second

// metrics counts requests as they end and asks for the rest when it is scraped.
// What is counted for each request is made beforehand, so that counting is an
// atomic addition and no lock.
type metrics struct {
	handler  http.Handler
	requests map[class]*[6]prometheus.Counter // by the first digit of the status
	duration map[class]prometheus.Observer
}

func newMetrics(s *Server) *metrics {
	m := &metrics{requests: map[class]*[6]prometheus.Counter{}, duration: map[class]prometheus.Observer{}}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "holdfast_http_requests_total", Help: "Requests answered, by class and by the first digit of the status.",
	}, []string{"class", "code"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "holdfast_http_request_duration_seconds", Help: "How long requests took, streams left out.",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 60},
	}, []string{"class"})
	for _, c := range []class{classAPI, classStream, classUpload, classProbe, classDeep, classLogin, classPage} {
		m.requests[c] = &[6]prometheus.Counter{}
		for digit := 1; digit <= 5; digit++ {
			m.requests[c][digit] = requests.WithLabelValues(string(c), strconv.Itoa(digit)+"xx")
		}
		if c != classStream {
			m.duration[c] = duration.WithLabelValues(string(c))
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		requests, duration, &facts{s: s, started: time.Now()},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	return m
}

func (m *metrics) ended(c class, status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK
	}
	if counters := m.requests[c]; counters != nil && status >= 100 && status < 600 {
		counters[status/100].Inc()
	}
	if d := m.duration[c]; d != nil {
		d.Observe(took.Seconds())
	}
}

// facts is what the parts below know at the moment of a scrape. The labels of
// a scrape differ with what there is, so it describes nothing beforehand.
type facts struct {
	s       *Server
	started time.Time
}

var _ prometheus.Collector = (*facts)(nil)

// Describe implements prometheus.Collector.
func (*facts) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f *facts) Collect(out chan<- prometheus.Metric) {
	// A scrape's own context does not come this far.
	ctx, cancel := context.WithTimeout(f.s.life, metricsTimeout)
	defer cancel()
	put := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names, values []string
		for i := 0; i+1 < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("holdfast_"+name, help, names, nil), kind, v, values...)
	}
	gauge := func(name, help string, v float64, labels ...string) {
		put(prometheus.GaugeValue, name, help, v, labels...)
	}

	gauge("build_info", "Always 1; the version is a label.", 1, "version", f.s.cfg.Version)
	gauge("start_time_seconds", "When this program began to serve, in Unix time.", float64(f.started.UnixMilli())/1000)
	gauge("connections", "Open connections.", float64(f.s.Connections()))
	for _, load := range f.s.Load() {
		gauge("http_requests_in_flight", "Requests under way, by class; streams are the open event streams.", float64(load.Now), "class", load.Class)
		gauge("http_requests_limit", "How many requests of a class may be under way.", float64(load.Bound), "class", load.Class)
	}
	now := f.s.health().Status
	for _, status := range []string{HealthOK, HealthDegraded, HealthFailing} {
		gauge("health", "1 for the state that the host is in.", truth(status == now), "status", status)
	}
	gauge("safe_mode", "1 where no agent is started or resumed until a person says so.", truth(f.s.safe() != ""))
	gauge("live_agents", "Sessions whose agent runs.", float64(f.s.cfg.Sessions.Live()))
	gauge("live_agents_limit", "How many sessions may have an agent that runs.", float64(f.s.cfg.Sessions.MaxLive()))
	put(prometheus.CounterValue, "events_total", "Events ever appended to the log.", float64(f.s.cfg.Store.Last()))
	if pending, err := f.s.cfg.Store.Approvals(ctx, "pending", ""); err == nil {
		gauge("approvals_pending", "Questions that wait for a person.", float64(len(pending)))
	}
	stats := f.s.cfg.Store.Stats(ctx)
	gauge("sessions", "Sessions.", float64(stats.Sessions))
	gauge("database_bytes", "Size of the database.", float64(stats.DBBytes))
	gauge("database_wal_bytes", "Size of the file of changes beside the database.", float64(stats.WALBytes))
	f.runs(ctx, out, put)
	f.ledger(ctx, gauge)
	if f.s.cfg.Machine != nil {
		ends := f.s.cfg.Machine.Ends()
		for _, how := range probe.Ends {
			put(prometheus.CounterValue, "restarts_total", "Starts of the host, by how the life before ended; not only those of this program.", float64(ends[how]), "how", how)
		}
	}
}

// runs tells of the runs that wait or are under way, and of those that have
// ended since this program started.
func (f *facts) runs(ctx context.Context, out chan<- prometheus.Metric, put func(kind prometheus.ValueType, name, help string, v float64, labels ...string)) {
	if c, err := f.s.cfg.Store.RunCounts(ctx); err == nil {
		const help = "Runs that have not ended: running, waiting (next to go, without an agent yet), queued (behind another, or paused)."
		put(prometheus.GaugeValue, "runs", help, float64(c.Running), "state", "running")
		put(prometheus.GaugeValue, "runs", help, float64(c.Waiting), "state", "waiting")
		put(prometheus.GaugeValue, "runs", help, float64(c.Queued), "state", "queued")
		oldest := 0.0
		if !c.OldestWaiting.IsZero() {
			oldest = max(0, time.Since(c.OldestWaiting).Seconds())
		}
		put(prometheus.GaugeValue, "runs_oldest_wait_seconds", "Since when the oldest of the waiting runs was sent; 0 where none waits.", oldest)
	}
	duration := prometheus.NewDesc("holdfast_run_duration_seconds", "From the prompt to the end of runs, by kind of agent.", []string{"agent"}, nil)
	for agent, t := range f.s.cfg.Sessions.Tallies() {
		for _, reason := range session.RunReasons {
			put(prometheus.CounterValue, "runs_ended_total", "Runs that have ended, by kind of agent and by why; \"error\" and \"interrupted\" are those that failed.",
				float64(t.Ended[reason]), "agent", agent, "reason", reason)
		}
		buckets := map[float64]uint64{}
		for i, bound := range session.RunBuckets {
			buckets[bound.Seconds()] = t.Took[i]
		}
		out <- prometheus.MustNewConstHistogram(duration, t.Count, t.Sum.Seconds(), buckets, agent)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (f *facts) ledger(ctx context.Context, gauge func(name, help string, v float64, labels ...string)) {
	if f.s.cfg.Ledger == nil {
		return
	}
	l, err := f.s.cfg.Ledger(ctx)
	if err != nil {
		return
	}
	gauge("findings", "What the ledger finds wrong now.", float64(len(l.Findings)))
	if l.Available {
		gauge("descriptors_observed", "Descriptors that are open.", float64(l.Now.Observed))
		gauge("descriptors_expected", "Descriptors that their owners declare.", float64(l.Now.Expected))
		gauge("descriptors_unexplained", "Descriptors that no owner expects.", float64(l.Now.Unexplained))
	}
	gauge("descriptors_limit", "How many descriptors may be open.", float64(l.Now.Limit))
	if l.Gauges.DiskFree >= 0 {
		gauge("disk_free_bytes", "Bytes that may still be written beside the state folder.", float64(l.Gauges.DiskFree))
	}
	if l.Gauges.ProbeMS > 0 {
		gauge("probe_duration_seconds", "How long the host's last look at itself through its public listener took.", l.Gauges.ProbeMS/1000)
	}
	descriptors, memory := map[string]int{}, map[string]int64{}
	for _, a := range l.Agents {
		descriptors[a.Agent] += a.Descriptors
		memory[a.Agent] += a.RSS
	}
	for agent, n := range descriptors {
		gauge("agent_descriptors", "Descriptors of live agents with their keepers, by kind of agent.", float64(n), "agent", agent)
		gauge("agent_resident_memory_bytes", "Memory of live agents with their keepers, by kind of agent.", float64(memory[agent]), "agent", agent)
	}
}
