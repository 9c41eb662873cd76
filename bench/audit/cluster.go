package audit

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/workload"
)

// Disks is what was found on the disks.
type Disks struct {
	Partitions, Batches int // compared
	Violations          []check.Violation
}

// State is what the disks are measured by: what the brokers said while they served.
type State struct {
	committed map[check.Partition]int64
	inSync    map[check.Partition][]int32
}

// Observe asks how far the partitions with these acknowledged ends are committed, and then every broker who is in their ISRs: a broker that joins an ISR has
// what was committed before. One whose view is old may take a replica for a member that is none any more, so that only those count that all agree on.
func Observe(ctx context.Context, cluster *target.Local, ends map[check.Partition]int64) (State, error) {
	s := State{inSync: make(map[check.Partition][]int32)}
	var err error
	if s.committed, err = workload.Committed(ctx, cluster.Seeds(), ends); err != nil {
		return State{}, err
	}
	first := true
	for id := range cluster.Addrs() {
		view, err := patientView(ctx, cluster, id)
		if err != nil {
			return State{}, err
		}
		for _, role := range view.Partitions {
			p := check.Partition{Topic: role.Topic, ID: role.Partition}
			if first {
				s.inSync[p] = slices.Clone(role.ISR)
				continue
			}
			s.inSync[p] = slices.DeleteFunc(s.inSync[p], func(id int32) bool { return !slices.Contains(role.ISR, id) })
		}
		first = false
	}
	return s, nil
}

// patientView asks a broker until it answers or ctx ends.
func patientView(ctx context.Context, cluster *target.Local, id int32) (target.View, error) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		view, err := cluster.View(ctx, id)
		if err == nil {
			return view, nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return target.View{}, err
		}
	}
}

// Compare kills the brokers, without a chance to put anything right, and compares what they have on their disks. An ISR may shrink between Observe and
// the end: a replica that was thrown out meanwhile only has less than it must.
func Compare(ctx context.Context, cluster *target.Local, program string, s State) (Disks, error) {
	copies := make(map[check.Partition][]check.Replica)
	var d Disks
	var ids []int32
	for id := range cluster.Addrs() {
		ids = append(ids, id)
		p, err := cluster.Process(id)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			return d, err
		}
	}
	slices.Sort(ids)
	found := make([]map[check.Partition]check.Replica, len(ids))
	faults := make([][]string, len(ids))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, id := range ids {
		dir := cluster.DataDir(id)
		group.Go(func() (err error) {
			wanted := func(p check.Partition) bool { _, ok := s.committed[p]; return ok }
			if found[i], err = Copies(gctx, program, dir, id, wanted); err != nil {
				return err
			}
			faults[i], err = Faults(gctx, program, dir, id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return d, err
	}
	for i, id := range ids {
		for p, c := range found[i] {
			c.InSync = slices.Contains(s.inSync[p], id)
			copies[p] = append(copies[p], c)
		}
		d.Violations = append(d.Violations, diskFaults(id, faults[i])...)
	}
	for p, committed := range s.committed {
		for _, id := range s.inSync[p] {
			if !slices.ContainsFunc(copies[p], func(c check.Replica) bool { return c.Broker == id }) {
				copies[p] = append(copies[p], check.Replica{Broker: id, InSync: true}) // it has none
			}
		}
		n, violations := check.Replicas(p, committed, copies[p])
		d.Partitions++
		d.Batches += n
		d.Violations = append(d.Violations, violations...)
	}
	return d, nil
}

// mostFaults of one broker are told one by one.
const mostFaults = 5

func diskFaults(id int32, faults []string) []check.Violation {
	var list []check.Violation
	for _, f := range faults[:min(len(faults), mostFaults)] {
		list = append(list, check.DiskFaultOf(id, f))
	}
	return list
}
