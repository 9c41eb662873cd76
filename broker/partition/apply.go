package partition

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/regency-project/regency/broker/cluster"
	"golang.org/x/sync/errgroup"
)

// maxOpening bounds the logs that are opened at the same time.
const maxOpening = 16

// assignment is what a View wants of one replica of this broker.
type assignment struct {
	tp     cluster.TopicPartition
	topic  *cluster.Topic
	target target
}

// Apply brings the partitions in line with a View. It is idempotent; an older View than the last one counts as that one. What ends is ended first, without
// touching the disk; then leaderships and followings begin; then new logs are made. complete is false if a log or a role could not be taken, by a disk that
// refused: then the same View is to be applied again after a while, for in a quiet cluster there will be no other.
func (s *Set) Apply(v *cluster.View, self Self) (complete bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	old, oldSelf := s.view.Load(), s.Self()
	if v.Seq < old.Seq {
		v = old
	}
	s.identity.Store(&self)
	s.view.Store(v)

	all := s.applying.incomplete || self != oldSelf || admitted(v, self) != admitted(old, oldSelf)
	touched := func(name string) bool { return all || v.Topics[name] != old.Topics[name] }
	wanted := assignments(v, self, touched)
	s.applying.incomplete = false

	s.dismiss(wanted, touched)
	for _, a := range wanted {
		if p, ok := s.Get(a.tp); ok {
			s.release(p, a.target)
		}
	}
	leaders := s.assumeAll(wanted)
	if s.openAll(v, wanted) {
		leaders += s.assumeAll(wanted)
	}
	s.publishFollowing()
	s.collectStrays(v)
	if leaders > 0 {
		s.cfg.Events.Emit("view.applied", "seq", v.Seq, "leaders", leaders)
	}
	return !s.applying.incomplete
}

// admitted says that the View knows this very incarnation of the broker, and may trust it.
func admitted(v *cluster.View, self Self) (a struct{ known, live bool }) {
	b, ok := v.Brokers[self.ID]
	a.known = ok && b.Epoch == self.Epoch
	a.live = a.known && !b.Fenced
	return a
}

func assignments(v *cluster.View, self Self, touched func(string) bool) []assignment {
	am := admitted(v, self)
	var wanted []assignment
	for _, name := range slices.Sorted(maps.Keys(v.Topics)) {
		if !touched(name) {
			continue
		}
		t := v.Topics[name]
		for i, st := range t.Partitions {
			if !slices.Contains(st.Replicas, self.ID) {
				continue
			}
			n := len(st.Replicas)
			tg := target{Partition: st, minISR: min(t.MinInSync(n), n), maxBatch: t.MaxMessageBytes(), compacts: t.Compacts()}
			switch {
			case st.Leader == cluster.NoLeader:
			case st.Leader != self.ID && am.known:
				tg.role = following
			// A View from before this incarnation was admitted may name the broker as leader: of an earlier incarnation, that is.
			case st.Leader == self.ID && am.live && self.Leading:
				tg.role, tg.self = leading, self
			}
			wanted = append(wanted, assignment{cluster.TopicPartition{Topic: name, Partition: int32(i)}, t, tg})
		}
	}
	return wanted
}

// dismiss lets go of the partitions of touched topics that are not wanted any more. Their logs stay until their topic's deletion is certain.
func (s *Set) dismiss(wanted []assignment, touched func(string) bool) {
	keep := make(map[cluster.TopicPartition][16]byte, len(wanted))
	for _, a := range wanted {
		keep[a.tp] = a.topic.ID
	}
	for _, p := range s.hosted() {
		if id, ok := keep[p.tp]; !touched(p.tp.Topic) || (ok && id == p.topicID) {
			continue
		}
		p.mu.Lock()
		t := target{role: idle}
		t.Leader, t.LeaderEpoch = cluster.NoLeader, p.mu.epoch
		p.mu.Unlock()
		s.release(p, t)
		s.mu.Lock()
		delete(s.mu.partitions, p.tp)
		s.mu.Unlock()
		s.applying.strays[logKey{p.topicID, p.tp.Partition}] = origin{topic: p.tp.Topic}
	}
}

// StepDown ends the leaderships of a Self whose Lost is closed. It touches no disk and waits for no Apply, which may hang behind one partition's disk while the
// other partitions have to be let go. The next Apply tells the listener.
func (s *Set) StepDown() {
	for _, p := range s.hosted() {
		p.stepDown()
	}
}

func (s *Set) release(p *Partition, t target) {
	p.mu.Lock()
	epoch := p.mu.epoch
	p.mu.Unlock()
	if p.release(t) && s.listener != nil {
		s.listener(p.tp, false, epoch)
	}
}

// assumeAll gives the partitions that are open their roles, and returns how many leaderships began.
func (s *Set) assumeAll(wanted []assignment) (leaders int) {
	now := s.cfg.Now()
	for _, a := range wanted {
		p, ok := s.Get(a.tp)
		if !ok || a.target.role == idle {
			continue
		}
		changed, err := p.assume(a.target, now)
		if err != nil {
			s.applying.incomplete = true
			p.logger().Warn("role not taken", "epoch", a.target.LeaderEpoch, "err", err)
		}
		if !changed {
			continue
		}
		s.tell(p, a.target)
		if a.target.role == leading {
			leaders++
		}
	}
	return leaders
}

func (s *Set) tell(p *Partition, t target) {
	if t.role == following {
		s.cfg.Events.Emit("partition.follower", "topic", p.tp.Topic, "partition", p.tp.Partition, "epoch", t.LeaderEpoch, "leader", t.Leader)
		return
	}
	s.cfg.Events.Emit("partition.leader", "topic", p.tp.Topic, "topic_id", hex.EncodeToString(p.topicID[:]), "partition", p.tp.Partition, "epoch", t.LeaderEpoch, "offset", p.epochStart())
	if s.listener != nil {
		s.listener(p.tp, true, t.LeaderEpoch)
	}
}

func (p *Partition) epochStart() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.epochStart
}

// openAll opens the logs of partitions that are new here, and reports whether there were any.
func (s *Set) openAll(v *cluster.View, wanted []assignment) bool {
	missing := slices.DeleteFunc(slices.Clone(wanted), func(a assignment) bool {
		_, ok := s.Get(a.tp)
		return ok
	})
	if len(missing) == 0 {
		return false
	}
	if s.cfg.Remember != nil {
		if err := s.cfg.Remember(v.Seq); err != nil {
			s.applying.incomplete = true
			s.cfg.Log.Error("logs not opened: the view's sequence number cannot be remembered", "err", err)
			return false
		}
	}
	opened := make([]*Partition, len(missing))
	var g errgroup.Group
	g.SetLimit(maxOpening)
	for i, a := range missing {
		g.Go(func() error {
			log, err := s.cfg.Logs.Log(a.tp.Topic, a.topic.ID, a.tp.Partition)
			if err != nil {
				s.cfg.Log.Error("open log", "topic", a.tp.Topic, "partition", a.tp.Partition, "err", err)
				return nil // the others open nevertheless
			}
			opened[i] = newPartition(s, a.tp, a.topic.ID, log)
			opened[i].release(a.target)
			return nil
		})
	}
	_ = g.Wait() // each error was logged where it happened
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range opened {
		if p == nil {
			s.applying.incomplete = true
			continue
		}
		s.mu.partitions[p.tp] = p
		delete(s.applying.strays, logKey{p.topicID, p.tp.Partition})
	}
	return true
}

func (s *Set) publishFollowing() {
	by := map[int32][]Followed{}
	for _, p := range s.hosted() {
		p.mu.Lock()
		if p.mu.role == following {
			by[p.mu.leader] = append(by[p.mu.leader], Followed{p, p.mu.epoch})
		}
		p.mu.Unlock()
	}
	for _, fs := range by {
		slices.SortFunc(fs, func(a, b Followed) int {
			return cmp.Or(strings.Compare(a.tp.Topic, b.tp.Topic), cmp.Compare(a.tp.Partition, b.tp.Partition))
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.mu.following.changed)
	s.mu.following = newFollowing(by)
}
