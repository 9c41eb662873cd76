package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
)

// hit is whom a fault hits: brokers, or members of a coordination service of its own.
type hit struct {
	brokers []int32
	members []int
}

// choose resolves the roles of all faults from one view. Brokers that are aimed at come after those that host what the coordination faults are aimed at, and no broker is
// chosen twice: where one has two roles, its first fault is both.
func (t *trial) choose(ctx context.Context, view target.View) error {
	t.hits = make([]hit, len(t.s.Faults))
	taken := make(map[int32]bool)
	for _, service := range []bool{true, false} {
		for i, f := range t.s.Faults {
			if f.OnCoordination() != service {
				continue
			}
			h, err := t.resolve(ctx, view, f, taken)
			if err != nil {
				return err
			}
			t.hits[i] = h
			for _, id := range h.brokers {
				taken[id] = true
			}
		}
	}
	main := t.hits[t.s.MainIndex()]
	t.victim = timeline.Victim{Trial: t.id, Action: t.s.Main().Action, Role: t.s.Main().Role}
	if f := t.s.Main(); len(main.brokers) > 0 && !(f.OnLink() && f.OnCoordination()) {
		t.victim.Broker = main.brokers[0]
	}
	for i, h := range t.hits {
		f := t.s.Faults[i]
		names := []string{}
		for _, m := range h.members {
			names = append(names, t.cluster.MemberName(m))
		}
		t.victim.Hits = append(t.victim.Hits, timeline.Hit{Action: f.Action, Role: f.Role, Link: f.Link, Direction: f.Direction, Brokers: h.brokers, Members: names})
	}
	t.describeVictim(ctx, view)
	return nil
}

// resolve finds who has the role of a fault.
func (t *trial) resolve(ctx context.Context, view target.View, f scenario.Fault, taken map[int32]bool) (hit, error) {
	switch {
	case f.Role == scenario.Controller:
		if taken[view.Controller] { // the coordination leader is its guest: that fault hits both
			return hit{}, nil
		}
		return hit{brokers: []int32{view.Controller}}, nil
	case f.OnBroker():
		id, err := t.replica(ctx, view, f.Role, taken)
		return hit{brokers: []int32{id}}, err
	case f.OnCoordination():
		return t.members(ctx, f.Role)
	}
	return hit{}, nil
}

// replica picks a broker that leads or follows probed partitions and has no other role.
func (t *trial) replica(ctx context.Context, view target.View, role string, taken map[int32]bool) (int32, error) {
	embedded, err := t.cluster.EmbeddedLeader(ctx)
	var candidates []int32
	for _, id := range view.Brokers {
		leads, follows := duties(view, id, scenario.TopicProbe)
		fits := leads > 0
		if role == scenario.Follower {
			fits = follows > 0
		}
		if fits && id != view.Controller && !taken[id] && (err != nil || id != embedded) {
			candidates = append(candidates, id)
		}
	}
	if len(candidates) == 0 {
		return 0, fmt.Errorf("no broker has the victim's role: all with role %s are the controller, host the coordination leader or are hit already", role)
	}
	return candidates[t.rng.IntN(len(candidates))], nil
}

// members picks members of the coordination service: of an embedded one the brokers that host them.
func (t *trial) members(ctx context.Context, role string) (hit, error) {
	n := t.cluster.Members()
	if n < 3 {
		return hit{}, errors.New("the coordination service has fewer than 3 members")
	}
	leader, err := t.cluster.LeaderIndex(ctx)
	if err != nil && role != scenario.Coordination {
		return hit{}, fmt.Errorf("resolve %s: %w", role, err)
	}
	leader = max(leader, 0) // all are hit, whoever leads
	order := []int{leader}
	for _, i := range t.rng.Perm(n) {
		if i != leader {
			order = append(order, i)
		}
	}
	var chosen []int
	switch role {
	case scenario.CoordinationLeader:
		chosen = order[:1]
	case scenario.CoordinationFollower:
		chosen = order[1:2]
	case scenario.CoordinationQuorum:
		chosen = order[:n-n/2] // what is left is one too few
	default:
		chosen = order
	}
	if t.cluster.HasService() {
		return hit{members: chosen}, nil
	}
	var h hit
	for _, i := range chosen {
		h.brokers = append(h.brokers, int32(i+1))
	}
	return h, nil
}

// describeVictim writes down what the victim is now.
func (t *trial) describeVictim(ctx context.Context, view target.View) {
	t.victim.Controller = t.victim.Broker != 0 && view.Controller == t.victim.Broker
	t.victim.Leads, t.victim.Follows = duties(view, t.victim.Broker, "")
	t.victim.CoordinationLeader = t.hostsLeader(ctx, t.victim.Broker)
}

// hostsLeader says whether the broker's process hosts the coordination service's leader; nil when the service has processes of its own, or cannot be asked, or no broker
// was aimed at.
func (t *trial) hostsLeader(ctx context.Context, id int32) *bool {
	leader, err := t.cluster.EmbeddedLeader(ctx)
	if err != nil || id == 0 {
		return nil
	}
	is := id == leader
	return &is
}

// duties counts what the broker leads and follows, on one topic or on all.
func duties(v target.View, id int32, topic string) (leads, follows int) {
	for _, p := range v.Partitions {
		switch {
		case topic != "" && p.Topic != topic:
		case p.Leader == id:
			leads++
		case slices.Contains(p.Replicas, id):
			follows++
		}
	}
	return leads, follows
}

// class of a partition for the trial's victims; empty: it is hit by a fault beside the main one and would say nothing about that.
func (t *trial) class(p timeline.PartitionRole) string {
	switch {
	case t.s.HeadlineClass() == metrics.ClassData:
		return metrics.ClassData
	case p.Leader == t.victim.Broker:
		return metrics.ClassLed
	case slices.Contains(t.ended(), p.Leader):
		return ""
	case slices.Contains(p.Replicas, t.victim.Broker):
		return metrics.ClassFollowed
	case slices.ContainsFunc(p.Replicas, func(id int32) bool { return slices.Contains(t.ended(), id) }):
		return ""
	}
	return metrics.ClassUntouched
}

// ended are the brokers whose processes a fault hits.
func (t *trial) ended() []int32 {
	var list []int32
	for i, h := range t.hits {
		if !t.s.Faults[i].OnLink() {
			list = append(list, h.brokers...)
		}
	}
	return list
}
