package metrics

import (
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/bench/scenario"
)

// gates says why a trial must not be counted; nothing when it may be.
func (r *raw) gates(s scenario.Scenario, t Trial) []string {
	reasons := append([]string(nil), r.invalid...)
	fail := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if r.to == 0 {
		fail("the trial did not come to its end")
	}
	if limit := s.Limits.DelayP99; limit > 0 && t.DelayP99 != nil && *t.DelayP99 > milliseconds(limit) {
		fail("the harness's own timers were late: p99 %.0f ms, the limit is %v", *t.DelayP99, limit)
	}
	if s.Kind != scenario.Failover {
		if r.round == nil {
			fail("no round was measured")
		}
		return reasons
	}
	switch v := t.Victim; {
	case v == nil:
		fail("no victim was chosen")
	case s.Main().Role == scenario.Controller && !v.Controller:
		fail("broker %d was not the controller when the fault came", v.Broker)
	case s.Main().Role == scenario.Leader && (v.Controller || v.Leads == 0):
		fail("broker %d led %d partitions and controller was %t when the fault came", v.Broker, v.Leads, v.Controller)
	case (s.Main().Role == scenario.Leader || s.Main().Role == scenario.Follower) && v.CoordinationLeader != nil && *v.CoordinationLeader:
		fail("broker %d hosted the coordination leader", v.Broker)
	case s.Main().Role == scenario.Follower && (v.Controller || v.Follows == 0):
		fail("broker %d followed %d partitions and controller was %t when the fault came", v.Broker, v.Follows, v.Controller)
	case r.effect == 0:
		fail("the fault was not seen to take effect")
	case r.after != nil && s.Replaces() && !v.Replaced && recovered(t.Outages, s.HeadlineClass()):
		// Only then: a victim that nobody replaced while its partitions stay unavailable is the worst failover there is, and counts as that.
		fail("after the fault nobody else had the roles of broker %d", v.Broker)
	}
	if least := s.Limits.Delivered; least > 0 && t.Delivered != nil && *t.Delivered < least {
		fail("delivered %.1f %% of the offered load in the steady phase, the limit is %.0f %%", 100**t.Delivered, 100*least)
	}
	return reasons
}

// recovered tells whether no probed target of the class was unavailable to the end.
func recovered(outages []Outage, class string) bool {
	return !slices.ContainsFunc(outages, func(o Outage) bool { return o.Class == class && !o.Recovered })
}

// verified tells whether the trial's records were read back. It holds for one that wrote none. The answer comes at the end of a block.
func (r *raw) verified() bool {
	if r.checked {
		return true
	}
	wrote := r.round != nil && r.round.Records > 0
	for _, run := range r.runs {
		_, read := WriteClass(run.Class)
		wrote = wrote || run.OK && run.Topic != "" && !read
	}
	for _, b := range r.block.bins {
		wrote = wrote || b.Acked > 0 && b.From >= r.from && b.From <= r.end()
	}
	return !wrote
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// delivered is the share of the offered load that was acknowledged before the fault; null when nothing was offered.
func (r *raw) delivered() *float64 {
	if r.asked == 0 {
		return nil
	}
	var offered, acked int
	for _, b := range r.block.bins {
		if b.From >= r.from && b.From+b.Width <= r.asked {
			offered += b.Offered
			acked += b.Acked
		}
	}
	if offered == 0 {
		return nil
	}
	return number(float64(acked) / float64(offered))
}

// replaced tells whether others have what the victim had.
func (r *raw) replaced(role string) bool {
	if r.before == nil || r.after == nil || r.victim == nil {
		return false
	}
	if role == scenario.Controller {
		return r.after.Controller != r.victim.Broker && r.after.Controller > 0
	}
	leader := make(map[key]int32)
	for _, p := range r.after.Partitions {
		leader[key{p.Topic, p.Partition}] = p.Leader
	}
	for _, p := range r.before.Partitions {
		if now, known := leader[key{p.Topic, p.Partition}]; p.Leader == r.victim.Broker && (!known || now == r.victim.Broker || now < 0) {
			return false
		}
	}
	return true
}
