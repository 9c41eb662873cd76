package report

import (
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

// TestEmptyCellSaysWhere: where all victims led the coordination service as well, the plain row points to theirs.
func TestEmptyCellSaysWhere(t *testing.T) {
	b := newBuilder(metrics.Run{Cells: []metrics.Cell{{Profile: "matched", Scenario: "coordination-leader-kill", Variant: "coordination-leader", Backend: "embedded"}}})
	l := line{scenario: metrics.Scenario{Name: "coordination-leader-kill"}}
	for backend, want := range map[string]string{"embedded": "every victim led the coordination service too: next row", "etcd": "not part of this run"} {
		if got := b.blocked(nil, l, metrics.Backend{Name: backend}, false); got != want {
			t.Errorf("empty cell of %s: %q, want %q", backend, got, want)
		}
	}
}
