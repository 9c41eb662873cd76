// Package metered decorates coordination with Prometheus metrics: a backend.Store with the latency and the errors of each of its operations, and a
// coordination.Coordinator with what happens to sessions and leaderships. Durations are in seconds; a histogram's count is the number of operations,
// failed ones included.
//
//	regency_coordination_operation_seconds{backend,operation}          histogram  one call, from call to return. operation: get, get_many, list, load,
//	                                                                              open_session, renew, txn, close_session
//	regency_coordination_operation_errors_total{backend,operation,kind} counter   calls that returned an error, and watches (operation watch, watch_dir) that
//	                                                                              broke off; kind as Kind says. A cancelled watch is no error
//	regency_coordination_watch_delivery_seconds{backend}               histogram  from this process's sending a transaction to the first of its own watches telling the new
//	                                                                              version of a key that the transaction wrote
//	regency_coordination_watch_events_total{backend,operation}         counter    calls of a watch's receiver, heartbeats included
//	regency_coordination_session_events_total{backend,event}           counter    opened, valid (again), suspect, lost, closed
//	regency_coordination_sessions{backend,state}                       gauge      open sessions of this process by state: valid, suspect
//	regency_coordination_leadership_events_total{backend,event}        counter    claimed, usurped (also counted as claimed); and how a term
//	                                                                              ended: resigned, fenced, session_lost, lineage (the store was
//	                                                                              emptied, replaced or set back), closed (session or coordinator)
//	regency_coordination_leader_epoch{backend}                         gauge      controller epoch that this process holds, 0 while it holds none
package metered

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regency-project/regency/coordination"
)

// Metrics are the collectors that all decorated stores and coordinators of a process share.
type Metrics struct {
	latency    *prometheus.HistogramVec
	errors     *prometheus.CounterVec
	delivery   *prometheus.HistogramVec
	events     *prometheus.CounterVec
	session    *prometheus.CounterVec
	sessions   *prometheus.GaugeVec
	leadership *prometheus.CounterVec
	epoch      *prometheus.GaugeVec
}

// buckets reach from a loopback read to a request that waits for an election.
var buckets = []float64{.0002, .0005, .001, .002, .003, .005, .0075, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New makes the collectors and registers them.
func New(r prometheus.Registerer) (*Metrics, error) {
	const prefix = "regency_coordination_"
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	}
	m := &Metrics{
		latency:    histogram("operation_seconds", "Duration of one operation at the coordination service, in seconds, failed ones included.", "backend", "operation"),
		errors:     counter("operation_errors_total", "Operations at the coordination service that returned an error, and watches that broke off.", "backend", "operation", "kind"),
		delivery:   histogram("watch_delivery_seconds", "Time from sending a transaction to the first own watch that tells of it, in seconds.", "backend"),
		events:     counter("watch_events_total", "Calls of a watch's receiver, heartbeats included.", "backend", "operation"),
		session:    counter("session_events_total", "Changes of sessions: opened, valid (again), suspect, lost, closed.", "backend", "event"),
		sessions:   gauge("sessions", "Open sessions by state.", "backend", "state"),
		leadership: counter("leadership_events_total", "Changes of leadership: claimed, usurped; resigned, fenced, session_lost, lineage, closed.", "backend", "event"),
		epoch:      gauge("leader_epoch", "Controller epoch that this process holds, 0 while it holds none.", "backend"),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.latency, m.errors, m.delivery, m.events, m.session, m.sessions, m.leadership, m.epoch} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// Kind is the label of an error: conflict, session_lost, lineage, outcome_unknown, too_large, fenced, closed, cancelled (the caller ended it), unavailable, or other.
func Kind(err error) string {
	for _, k := range []struct {
		target error
		kind   string
	}{
		{coordination.ErrConflict, "conflict"},
		{coordination.ErrSessionLost, "session_lost"},
		{coordination.ErrLineage, "lineage"},
		{coordination.ErrOutcomeUnknown, "outcome_unknown"},
		{coordination.ErrTooLarge, "too_large"},
		{coordination.ErrFenced, "fenced"},
		{coordination.ErrClosed, "closed"},
		{context.Canceled, "cancelled"},
		{coordination.ErrUnavailable, "unavailable"},
		{context.DeadlineExceeded, "unavailable"},
	} {
		if errors.Is(err, k.target) {
			return k.kind
		}
	}
	return "other"
}
