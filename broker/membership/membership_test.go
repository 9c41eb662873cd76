package membership

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/metafile"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T, server *memory.Server, dir string) Config {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c := server.Open(log)
	t.Cleanup(func() { _ = c.Close() })
	e := cluster.Endpoint{Host: "localhost", Port: 1}
	return Config{
		ID: 1, DataDir: dir, DirectoryUUID: "d1", Attributes: cluster.Attributes{Client: e, Peer: e}, Coordinator: c, Log: log,
	}
}

// run runs the member until stop is called, which returns what Run returned. Sessions are told on the channel.
func run(t *testing.T, cfg Config) (m *Member, sessions <-chan coordination.Session, stop func() error) {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan coordination.Session, 10), make(chan error, 1)
	go func() {
		done <- m.Run(ctx, func(ctx context.Context, s coordination.Session) error {
			told <- s
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	return m, told, func() error { cancel(); return <-done }
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happened in 20 s")
	}
	panic("unreachable")
}

func TestRegistersAgainAfterLoss(t *testing.T) {
	server := memory.NewServer(200 * time.Millisecond)
	cfg := config(t, server, t.TempDir())
	var sick atomic.Bool
	cfg.Healthy = func() error {
		if sick.Load() {
			return errors.New("the disk hangs")
		}
		return nil
	}
	m, sessions, stop := run(t, cfg)
	first := await(t, sessions)
	before, _ := m.Identity()
	sick.Store(true) // the session lapses
	await(t, first.Done())
	for id, changed := m.Identity(); id == before; id, changed = m.Identity() {
		await(t, changed)
	}
	sick.Store(false)
	await(t, sessions)
	after, _ := m.Identity()
	if before == "" || after == "" || after == before {
		t.Errorf("incarnations %q and %q, want two different ones", before, after)
	}
	v := cluster.Empty()
	v.Brokers[1] = cluster.Broker{ID: 1, Epoch: 5, Incarnation: before}
	if _, ok := m.Admitted(v); ok {
		t.Error("the old incarnation passes as admitted")
	}
	v.Brokers[1] = cluster.Broker{ID: 1, Epoch: 6, Incarnation: after}
	if b, ok := m.Admitted(v); !ok || b.Epoch != 6 {
		t.Errorf("Admitted = %+v, %v; want epoch 6", b, ok)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
	if id, _ := m.Identity(); id != "" {
		t.Errorf("incarnation after the end = %q, want none", id)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	server := memory.NewServer(time.Second)
	_, sessions, stop := run(t, config(t, server, dir))
	await(t, sessions)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	meta, ok, err := metafile.Read(dir)
	if err != nil || !ok || meta.Cluster == "" || meta.Broker != 1 || meta.Directory != "d1" {
		t.Fatalf("meta.json = %+v, %v, %v", meta, ok, err)
	}

	other := config(t, server, dir)
	other.ID = 2
	if _, err := New(other); !errors.Is(err, metafile.ErrRefused) {
		t.Errorf("New with another broker's directory = %v, want ErrRefused", err)
	}
	m, err := New(config(t, memory.NewServer(time.Second), dir))
	if err != nil {
		t.Fatal(err)
	}
	err = m.Run(t.Context(), func(context.Context, coordination.Session) error {
		t.Error("serves on an empty store")
		return nil
	})
	if !errors.Is(err, metafile.ErrRefused) {
		t.Errorf("Run on an empty store = %v, want ErrRefused", err)
	}
	if st, err := m.cfg.Coordinator.Status(t.Context()); err != nil || st.Exists {
		t.Errorf("the refused store = %+v, %v; want it untouched", st, err)
	}

	// A store that is behind what this broker has seen.
	meta.Seq += 1000
	if err := metafile.Write(dir, meta); err != nil {
		t.Fatal(err)
	}
	m, err = New(config(t, server, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), nil); !errors.Is(err, metafile.ErrRefused) {
		t.Errorf("Run on an older store = %v, want ErrRefused", err)
	}
}

func TestDuplicateID(t *testing.T) {
	server := memory.NewServer(time.Second)
	_, sessions, stop := run(t, config(t, server, t.TempDir()))
	await(t, sessions)
	double := config(t, server, t.TempDir())
	double.DirectoryUUID = "d2"
	m, err := New(double)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), nil); !errors.Is(err, coordination.ErrDuplicateID) {
		t.Errorf("Run of a second broker 1 = %v, want ErrDuplicateID", err)
	}
	_ = stop()
}

// A broker that had to set its log store aside finds its own predecessor registered with the old one, and waits for that session to expire.
func TestRemadeStore(t *testing.T) {
	server, dir := memory.NewServer(300*time.Millisecond), t.TempDir()
	before := config(t, server, dir)
	_, sessions, stop := run(t, before)
	await(t, sessions)
	s, err := server.Open(nil).OpenSession(t.Context(), coordination.SessionOptions{Healthy: func() error { return errors.New("dead") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := s.Register(t.Context(), coordination.Registration{ID: 1, DirectoryUUID: "d1"}); err != nil { // never renewed
		t.Fatal(err)
	}
	after := config(t, server, dir)
	after.DirectoryUUID = "d2"
	_, sessions, stop = run(t, after)
	await(t, sessions)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_ = s.Close(context.WithoutCancel(t.Context()))
}

func TestWaitsForTheService(t *testing.T) {
	server := memory.NewServer(time.Second)
	server.SetDown(true)
	_, sessions, stop := run(t, config(t, server, t.TempDir()))
	server.SetDown(false)
	await(t, sessions)
	_ = stop()
}

func TestRemember(t *testing.T) {
	dir := t.TempDir()
	m, sessions, stop := run(t, config(t, memory.NewServer(time.Second), dir))
	await(t, sessions)
	defer func() { _ = stop() }()
	current := cluster.NewCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Remember(ctx, current) }()
	v := cluster.Empty()
	v.ClusterID, v.Epoch, v.Seq = m.Meta().Cluster, 3, 17
	current.Set(v)
	deadline := time.Now().Add(20 * time.Second)
	for m.Meta().Epoch != 3 {
		if time.Now().After(deadline) {
			t.Fatalf("meta = %+v, want epoch 3", m.Meta())
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	await(t, done)
	if err := m.RememberSeq(18); err != nil {
		t.Fatal(err)
	}
	if err := m.RememberSeq(4); err != nil {
		t.Fatal(err)
	}
	if meta, _, err := metafile.Read(dir); err != nil || meta.Epoch != 3 || meta.Seq != 18 {
		t.Errorf("meta.json = %+v, %v; want epoch 3 and seq 18", meta, err)
	}
}
