package metrics

import (
	"fmt"
	"testing"

	"github.com/regency-project/regency/bench/timeline"
)

// TestEnsembleLeader: of a victim that hosted the leader of the embedded ensemble, the ensemble's election is told apart from what follows it.
func TestEnsembleLeader(t *testing.T) {
	event := func(at int64, broker int, name, rest string) timeline.Event {
		e, err := timeline.Parse(fmt.Appendf(nil, `{"t":%d,"broker":%d,"pid":1,"event":%q%s}`, at*1e6, broker, name, rest))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	hosts := true
	trial := func(events ...timeline.Event) *raw {
		return &raw{
			effect: 1000e6, to: 3000e6, victim: &timeline.Victim{Broker: 1, Controller: true, CoordinationLeader: &hosts}, block: &rawBlock{brokers: events},
		}
	}
	whole := trial(
		event(900, 2, "ensemble.leader", `,"leader":3`),  // of before the fault
		event(1100, 1, "ensemble.leader", `,"leader":3`), // the victim's own word
		event(1150, 3, "ensemble.leader", `,"leader":1`), // a late word of what was
		event(1200, 3, "ensemble.leader", `,"leader":3`),
		event(1210, 2, "ensemble.leader", `,"leader":3`),
		event(1230, 2, "controller.claimed", `,"epoch":4,"seq":9`),
	)
	elected, after := whole.ensemble()
	if elected == nil || *elected != 200 || after == nil || *after != 30 {
		t.Errorf("ensemble() = %v, %v; want 200 and 30", elected, after)
	}
	unclaimed := trial(event(1200, 3, "ensemble.leader", `,"leader":3`))
	if elected, after := unclaimed.ensemble(); elected == nil || after != nil {
		t.Errorf("ensemble() without a claim = %v, %v; want 200 and nothing", elected, after)
	}
	hosts = false
	if elected, after := whole.ensemble(); elected != nil || after != nil {
		t.Errorf("ensemble() of a victim that did not host the leader = %v, %v; want nothing", elected, after)
	}
}
