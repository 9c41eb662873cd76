package membership

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
)

// opened counts the sessions.
type opened struct {
	coordination.Coordinator
	n atomic.Int32
}

func (o *opened) OpenSession(ctx context.Context, opts coordination.SessionOptions) (coordination.Session, error) {
	o.n.Add(1)
	return o.Coordinator.OpenSession(ctx, opts)
}

// A broker whose disk hangs does not come back until it no longer does.
func TestUnhealthyStaysAway(t *testing.T) {
	cfg := config(t, memory.NewServer(200*time.Millisecond), t.TempDir())
	o := &opened{Coordinator: cfg.Coordinator}
	cfg.Coordinator = o
	var sick, lost atomic.Bool
	asked := make(chan struct{}, 100) // by whoever asks after the loss
	cfg.Healthy = func() error {
		if lost.Load() {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		if sick.Load() {
			return errors.New("the disk hangs")
		}
		return nil
	}
	m, sessions, stop := run(t, cfg)
	first := await(t, sessions)
	before, _ := m.Identity()
	sick.Store(true)
	await(t, first.Done())
	lost.Store(true)
	for range 5 {
		await(t, asked)
	}
	if n := o.n.Load(); n != 1 {
		t.Errorf("%d sessions opened while the disk hangs, want only the first", n)
	}
	if id, _ := m.Identity(); id != "" {
		t.Errorf("registered as %s while the disk hangs", id)
	}
	sick.Store(false)
	await(t, sessions)
	if id, _ := m.Identity(); id == "" || id == before {
		t.Errorf("incarnation %q after the disk returned, want a new one; it was %q", id, before)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
