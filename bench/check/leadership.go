package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/regency-project/regency/bench/timeline"
)

// Leadership checks the brokers' own events of one cluster's life:
//
//   - no epoch of a partition, and no controller epoch, is held by two brokers;
//   - a broker never leads a partition in an epoch below one that it led it in before, restarts included, and a later controller epoch has a later claim;
//   - no controller commits anything after its successor's claim, as the sequence numbers of the commit chain tell.
//
// That a broker logs an old epoch late is no violation: it may have been frozen between the commit and its log line. So instants prove nothing here. Trial is ""
// in its results: the caller attributes by T. A topic is told by its id where the event has one: another topic of the same name, made after its deletion,
// begins with the same epoch.
func Leadership(events []timeline.Event) ([]Timed, error) {
	c := leadership{
		leaders:     make(map[topicPartition]map[int32]int32),
		latest:      make(map[replica]int32),
		controllers: make(map[int32]claim),
	}
	for _, e := range events {
		var err error
		switch {
		case e.Broker == 0:
		case e.Name == "partition.leader":
			err = c.partition(e)
		case e.Name == "controller.claimed":
			err = c.controller(e)
		case e.Name == "controller.committed":
			err = c.committed(e)
		}
		if err != nil {
			return nil, err
		}
	}
	c.chain()
	return c.found, nil
}

// Timed is a violation at an instant of the timeline.
type Timed struct {
	T int64
	Violation
}

type topicPartition struct {
	id string
	Partition
}

type replica struct {
	broker int32
	topicPartition
}

// claim is a controllership, or a commit of one.
type claim struct {
	event  timeline.Event
	broker int32
	Epoch  int32  `json:"epoch"`
	Seq    uint64 `json:"seq"`
}

type leadership struct {
	leaders     map[topicPartition]map[int32]int32 // epoch → broker
	latest      map[replica]int32                  // epoch that a broker led last
	controllers map[int32]claim
	commits     []claim
	found       []Timed
}

func (c *leadership) violate(e timeline.Event, check, format string, args ...any) {
	c.found = append(c.found, Timed{T: e.T, Violation: Violation{Check: check, Detail: fmt.Sprintf(format, args...)}})
}

func (c *leadership) partition(e timeline.Event) error {
	var l struct {
		Topic     string `json:"topic"`
		TopicID   string `json:"topic_id"`
		Partition int32  `json:"partition"`
		Epoch     int32  `json:"epoch"`
	}
	if err := e.Decode(&l); err != nil {
		return err
	}
	p := topicPartition{l.TopicID, Partition{l.Topic, l.Partition}}
	if c.leaders[p] == nil {
		c.leaders[p] = make(map[int32]int32)
	}
	if other, ok := c.leaders[p][l.Epoch]; ok && other != e.Broker {
		c.violate(e, DoubleLeader, "%s was led by brokers %d and %d, both with leader epoch %d", p.Partition, other, e.Broker, l.Epoch)
	}
	c.leaders[p][l.Epoch] = e.Broker
	own := replica{e.Broker, p}
	if before, led := c.latest[own]; led && l.Epoch < before && l.TopicID != "" {
		c.violate(e, EpochRegress, "%s: broker %d leads with leader epoch %d after it led with %d", p.Partition, e.Broker, l.Epoch, before)
	}
	c.latest[own] = max(c.latest[own], l.Epoch)
	return nil
}

func (c *leadership) controller(e timeline.Event) error {
	l := claim{event: e, broker: e.Broker}
	if err := e.Decode(&l); err != nil {
		return err
	}
	if other, ok := c.controllers[l.Epoch]; ok && other.broker != e.Broker {
		c.violate(e, DoubleController, "brokers %d and %d both claimed controller epoch %d", other.broker, e.Broker, l.Epoch)
	}
	c.controllers[l.Epoch] = l
	return nil
}

func (c *leadership) committed(e timeline.Event) error {
	l := claim{event: e, broker: e.Broker}
	err := e.Decode(&l)
	c.commits = append(c.commits, l)
	return err
}

// chain compares the controllers' epochs with the order of their commits.
func (c *leadership) chain() {
	claims := make([]claim, 0, len(c.controllers))
	for _, l := range c.controllers {
		claims = append(claims, l)
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for i := 1; i < len(claims); i++ {
		if a, b := claims[i-1], claims[i]; b.Seq <= a.Seq {
			c.violate(b.event, EpochRegress, "broker %d claimed controller epoch %d with commit %d, which is not after commit %d of epoch %d", b.broker, b.Epoch, b.Seq, a.Seq, a.Epoch)
		}
	}
	for _, l := range c.commits {
		next, _ := slices.BinarySearchFunc(claims, l.Epoch+1, func(c claim, epoch int32) int { return cmp.Compare(c.Epoch, epoch) })
		if next < len(claims) && l.Seq >= claims[next].Seq {
			c.violate(l.event, ZombieCommit, "broker %d, controller of epoch %d, made commit %d; broker %d had claimed epoch %d with commit %d",
				l.broker, l.Epoch, l.Seq, claims[next].broker, claims[next].Epoch, claims[next].Seq)
		}
	}
}
