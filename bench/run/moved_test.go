package run

import (
	"testing"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
)

// TestOutageMovesNothing: a leader or an epoch that another replaces over an outage of the coordination service is a violation; over one that killed a broker as well,
// or over a fault of a broker, it is what should happen.
func TestOutageMovesNothing(t *testing.T) {
	view := func(leader, epoch int32) target.View {
		return target.View{Partitions: []timeline.PartitionRole{{Topic: "probe", Leader: 3, Epoch: 1}, {Topic: "probe", Partition: 1, Leader: leader, Epoch: epoch}}}
	}
	outage := []scenario.Fault{{Action: scenario.Kill, Role: scenario.CoordinationLeader}}
	for name, c := range map[string]struct {
		faults []scenario.Fault
		hits   []hit
		after  target.View
		want   int
	}{
		"nothing":                  {outage, []hit{{members: []int{0}}}, view(1, 5), 0},
		"leader":                   {outage, []hit{{members: []int{0}}}, view(2, 5), 1},
		"epoch":                    {outage, []hit{{members: []int{0}}}, view(1, 6), 1},
		"with a broker":            {outage, []hit{{brokers: []int32{1}}}, view(2, 6), 0},
		"of a broker's fault only": {[]scenario.Fault{{Action: scenario.Kill, Role: scenario.Leader}}, []hit{{}}, view(2, 6), 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := timeline.NewWriter()
			tr := &trial{block: &block{engine: &engine{timeline: w}}, id: "etcd/matched/x/1", s: scenario.Scenario{Faults: c.faults}, hits: c.hits, before: view(1, 5)}
			tr.judgeMoved(c.after)
			found := w.Recent()
			if len(found) != c.want {
				t.Fatalf("%d violations, want %d: %v", len(found), c.want, found)
			}
			var v timeline.Violation
			if c.want > 0 && (found[0].Decode(&v) != nil || v.Check != checkOutageMoved || v.Trial != tr.id) {
				t.Errorf("violation = %+v", v)
			}
		})
	}
}
