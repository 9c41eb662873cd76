package run

import (
	"context"
	"fmt"
	"time"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/probe"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
)

const (
	zombieSpell = 500 * time.Millisecond // how long a victim is tempted
	zombieAhead = 100 * time.Millisecond // before a frozen one goes on
)

// tempt offers a victim that lives on what it led, and takes the fault back. A frozen one finds the records in its sockets as soon as it goes on, before it can learn
// anything, and before leadership may move back to it; one that is cut off is asked while it is.
func (t *trial) tempt(ctx context.Context, s *staged, take func() error) error {
	if len(t.led) == 0 {
		return take()
	}
	before, err := t.view(ctx, t.victim.Broker)
	if err != nil {
		return err
	}
	tempting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan []probe.Answers, 1)
	go func() { ended <- probe.Direct(tempting, t.cluster.Addrs()[t.victim.Broker], t.led, t.probes) }()
	if s.Action == scenario.Pause {
		err = sleep(ctx, zombieAhead)
		if err == nil {
			err = take()
		}
	}
	if err == nil {
		err = sleep(ctx, zombieSpell)
	}
	stop()
	answers := <-ended
	if err != nil {
		return err
	}
	after, err := t.view(ctx, t.victim.Broker)
	if err != nil {
		return err
	}
	t.judge(before, after, answers)
	if s.Action == scenario.Pause {
		return nil
	}
	return take()
}

// judge counts the answers of the partitions that others led all the time: of the rest the victim may have been the rightful leader.
func (t *trial) judge(before, after target.View, answers []probe.Answers) {
	z := timeline.Zombie{Trial: t.id, Broker: t.victim.Broker}
	for i, a := range answers {
		if ledAgain(before, after, t.led[i], t.victim.Broker) {
			continue
		}
		z.Refused += a.Refused
		z.Accepted += a.Accepted
		z.Closed += a.Closed
	}
	t.timeline.Emit(z)
	if z.Accepted > 0 {
		t.timeline.Emit(timeline.Violation{
			Trial: t.id, Check: check.ZombieWrite,
			Detail: fmt.Sprintf("broker %d acknowledged %d probes after it was replaced, on partitions that others led", t.victim.Broker, z.Accepted),
		})
	}
}

// ledAgain tells whether the leadership of a probed partition changed between two views, or is the victim's.
func ledAgain(before, after target.View, tg probe.Target, victim int32) bool {
	p, was := role(before, tg)
	q, is := role(after, tg)
	return !was || !is || p.Epoch != q.Epoch || q.Leader == victim || p.Leader == victim
}

func role(v target.View, tg probe.Target) (timeline.PartitionRole, bool) {
	for _, p := range v.Partitions {
		if p.Topic == tg.Topic && p.Partition == tg.Partition {
			return p, true
		}
	}
	return timeline.PartitionRole{}, false
}
