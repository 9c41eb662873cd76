package metered_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/faulty"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/regency-project/regency/coordination/metered"
)

// scraped is what a Prometheus server would see.
func scraped(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	s := httptest.NewServer(promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// awaitLine waits for a line of the scrape.
func awaitLine(t *testing.T, r *prometheus.Registry, want string) {
	t.Helper()
	var text string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if text = scraped(t, r); strings.Contains("\n"+text, "\n"+want+"\n") {
			return
		}
	}
	t.Errorf("no line %q in\n%s", want, text)
}

// process is one coordinator with metrics of its own on a shared server, and faults below the metrics.
type process struct {
	coordination.Coordinator
	faults   *faulty.Store
	registry *prometheus.Registry
}

func open(t *testing.T, server *memory.Server) *process {
	t.Helper()
	p := &process{faults: faulty.Wrap(server.Store()), registry: prometheus.NewRegistry()}
	m, err := metered.New(p.registry)
	if err != nil {
		t.Fatal(err)
	}
	p.Coordinator = m.Coordinator(chain.New(m.Store(p.faults), chain.Options{Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (p *process) lead(t *testing.T, id int32) (coordination.Session, coordination.Leadership) {
	t.Helper()
	s, err := p.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register(t.Context(), coordination.Registration{ID: id, DirectoryUUID: "d"}); err != nil {
		t.Fatal(err)
	}
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claim := s.Campaign
	if status.Epoch > 0 {
		claim = func(ctx context.Context) (coordination.Leadership, error) { return s.Usurp(ctx, status.Epoch) }
	}
	l, err := claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func commit(t *testing.T, l coordination.Leadership) {
	t.Helper()
	if _, err := l.Commit(t.Context(), []coordination.Mutation{{Key: "k", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
}

func TestOperationsAndKindsOfErrors(t *testing.T) {
	p := open(t, memory.NewServer(time.Minute))
	_, l := p.lead(t, 1) // transactions: bootstrap, register, claim
	commit(t, l)
	p.faults.Next(faulty.LoseBefore, faulty.LoseAfter)
	commit(t, l) // lost before; its no-op is applied and its answer lost; then it is sent again
	txn := `backend="memory",operation="txn"`
	awaitLine(t, p.registry, `regency_coordination_operation_seconds_count{`+txn+`} 7`)
	awaitLine(t, p.registry, `regency_coordination_operation_errors_total{backend="memory",kind="outcome_unknown",operation="txn"} 2`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Status(ctx); err == nil {
		t.Error("Status with an ended context succeeded")
	}
	awaitLine(t, p.registry, `regency_coordination_operation_errors_total{backend="memory",kind="cancelled",operation="get"} 1`)
}

func TestUnavailableIsAKind(t *testing.T) {
	server := memory.NewServer(time.Minute)
	p := open(t, server)
	server.SetDown(true)
	if _, err := p.Status(t.Context()); err == nil {
		t.Error("Status of a server that is down succeeded")
	}
	awaitLine(t, p.registry, `regency_coordination_operation_errors_total{backend="memory",kind="unavailable",operation="get"} 1`)
}

func TestWatchDelivery(t *testing.T) {
	p := open(t, memory.NewServer(time.Minute))
	_, l := p.lead(t, 1)
	seen := make(chan uint64, 16)
	go func() { _ = p.Watch(t.Context(), func(e coordination.Event) { seen <- e.Seq }) }()
	<-seen // the snapshot
	before := histogram(t, p.registry, "regency_coordination_watch_delivery_seconds")
	commit(t, l)
	for deadline := time.Now().Add(20 * time.Second); histogram(t, p.registry, "regency_coordination_watch_delivery_seconds") != before+1; {
		if time.Now().After(deadline) {
			t.Fatalf("deliveries: %d before, %d after one commit; want one more", before, histogram(t, p.registry, "regency_coordination_watch_delivery_seconds"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// histogram returns the number of observations.
func histogram(t *testing.T, r *prometheus.Registry, name string) (n uint64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func TestSessionsAndLeaderships(t *testing.T) {
	server := memory.NewServer(300 * time.Millisecond)
	a, b := open(t, server), open(t, server)
	sa, la := a.lead(t, 1)
	awaitLine(t, a.registry, `regency_coordination_leader_epoch{backend="memory"} 1`)
	awaitLine(t, a.registry, `regency_coordination_sessions{backend="memory",state="valid"} 1`)
	_, lb := b.lead(t, 2) // usurps
	<-la.Done()
	awaitLine(t, a.registry, `regency_coordination_leadership_events_total{backend="memory",event="fenced"} 1`)
	awaitLine(t, a.registry, `regency_coordination_leader_epoch{backend="memory"} 0`)
	awaitLine(t, b.registry, `regency_coordination_leadership_events_total{backend="memory",event="usurped"} 1`)
	if err := lb.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, b.registry, `regency_coordination_leadership_events_total{backend="memory",event="resigned"} 1`)
	if err := sa.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, a.registry, `regency_coordination_session_events_total{backend="memory",event="closed"} 1`)
	awaitLine(t, a.registry, `regency_coordination_sessions{backend="memory",state="valid"} 0`)
	server.SetDown(true)
	awaitLine(t, b.registry, `regency_coordination_session_events_total{backend="memory",event="suspect"} 1`)
	server.SetDown(false)
	awaitLine(t, b.registry, `regency_coordination_session_events_total{backend="memory",event="valid"} 1`)
}
