package partition

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/storage"
)

// repairPause is between looks at damaged logs that wait for a decision of the controller, and then for a View; idlePause where nothing can be done now.
const (
	repairPause = 200 * time.Millisecond
	idlePause   = 5 * time.Second
)

// noticed is what is known of a damaged log's repair.
type noticed struct {
	epoch   int32 // the newest leader epoch in which it may have fetched before the damage was seen
	offline bool  // the operator was told that this was the last copy
}

// runRepairer rebuilds damaged logs from their leaders, until ctx ends. A damaged replica first leaves the ISR, and with it the leadership: what it holds does not
// count any more. Then, in a leader epoch in which it has fetched nothing, it empties its log and follows, like a new replica. A fetch of an earlier epoch, and
// an ISR that was proposed because of one, may still be on their way: they are refused by their epoch. The last in-sync copy is left as it is, for people:
// nobody has what it lacks.
func (s *Set) runRepairer(ctx context.Context) error {
	seen := map[*Partition]noticed{}
	for {
		var again <-chan time.Time
		if damaged := s.cfg.Logs.Damaged(); len(damaged) > 0 {
			again = time.After(idlePause)
			if s.repair(ctx, damaged, seen) {
				again = time.After(repairPause)
			}
		} else {
			clear(seen)
		}
		select {
		case <-again:
		case <-s.cfg.Damage:
		case <-ctx.Done():
			return nil
		}
	}
}

// repair does what can be done now, and reports whether there is more to come soon.
func (s *Set) repair(ctx context.Context, damaged []*storage.DamageError, seen map[*Partition]noticed) (soon bool) {
	v, self := s.view.Load(), s.Self()
	farewell := controller.AlterPartition{Broker: self.ID, BrokerEpoch: self.Epoch}
	still := map[*Partition]bool{}
	for _, d := range damaged {
		tp := cluster.TopicPartition{Topic: v.TopicNames[d.TopicID], Partition: d.Partition}
		st, known := v.Partition(tp)
		p, hosted := s.Get(tp)
		if !known || !hosted || p.topicID != d.TopicID {
			continue // its deletion, or its assignment, is on the way
		}
		still[p] = true
		n, told := seen[p]
		if !told {
			n.epoch = max(st.LeaderEpoch, p.leaderEpoch())
			s.cfg.Events.Emit("replica.damaged", "topic", tp.Topic, "partition", tp.Partition, "offset", d.Offset, "error", d.Err.Error())
		}
		i := slices.Index(st.ISR, self.ID)
		switch {
		case i >= 0 && st.Directories[i] == self.DirectoryUUID, i < 0 && st.Leader != cluster.NoLeader && st.LeaderEpoch <= n.epoch:
			soon = true
			farewell.Changes = append(farewell.Changes, without(v, d.TopicID, tp.Partition, st, self.ID))
		case i < 0 && st.LeaderEpoch > n.epoch:
			soon = true
			if err := p.rebuild(st.LeaderEpoch); err != nil {
				p.logger().Error("damaged log not rebuilt", "err", err)
			}
		case i >= 0 && len(st.ISR) == 1 && !n.offline:
			n.offline = true
			p.logger().Error("the partition is offline: its last in-sync copy is damaged. What is left can be read with 'regency log dump'; delete the topic to use its name again",
				"offset", d.Offset, "err", d.Err)
		}
		seen[p] = n
	}
	maps.DeleteFunc(seen, func(p *Partition, _ noticed) bool { return !still[p] })
	for changes := range slices.Chunk(farewell.Changes, maxChanges) {
		farewell.Changes = changes
		asking, cancel := context.WithTimeout(ctx, alterTimeout)
		_, err := s.cfg.Control.AlterPartition(asking, farewell)
		cancel()
		if err != nil { // whatever became of it, the next View tells
			s.cfg.Log.Warn("damaged replicas are still in their ISRs", "partitions", len(changes), "err", err)
		}
	}
	return soon
}

func (p *Partition) leaderEpoch() int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.epoch
}

// without is the ISR without a replica.
func without(v *cluster.View, topicID [16]byte, partition int32, st cluster.Partition, id int32) controller.ISRChange {
	c := controller.ISRChange{TopicID: topicID, Partition: partition, LeaderEpoch: st.LeaderEpoch, PartitionEpoch: st.Epoch}
	for _, member := range st.ISR {
		if member != id {
			c.ISR = append(c.ISR, controller.ISRMember{ID: member, Epoch: v.Brokers[member].Epoch})
		}
	}
	return c
}

// rebuild empties the log of a replica that follows, outside the ISR, in that leader epoch, which began after the damage was seen. No fetch was sent in it: a
// damaged log has no Position.
func (p *Partition) rebuild(epoch int32) error {
	p.disk.Lock()
	defer p.disk.Unlock()
	p.mu.Lock()
	follows := p.mu.role == following && p.mu.epoch == epoch
	p.mu.Unlock()
	if !follows || p.log.Damage() == nil {
		return nil
	}
	before := p.log.End()
	if err := p.log.Reset(0); err != nil {
		return fmt.Errorf("reset %s: %w", p, translate(err))
	}
	p.cutTo(0, true)
	p.logger().Warn("damaged log emptied, to be filled from the leader", "was", before)
	p.set.cfg.Events.Emit("replica.rebuilding", "topic", p.tp.Topic, "partition", p.tp.Partition, "epoch", epoch)
	return nil
}
