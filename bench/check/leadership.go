package check

import (
	"fmt"

	"github.com/regency-project/regency/bench/timeline"
)

// Leadership checks the brokers' own events of one cluster's life: no epoch of a partition, and no controller epoch, is held by two brokers. That a
// broker logs an old epoch late is no violation: it may have been frozen between the commit and its log line. Trial is "" in its results: the caller attributes by T.
// A topic is told by its id where the event has one: another topic of the same name, made after its deletion, begins with the same epoch.
func Leadership(events []timeline.Event) ([]Timed, error) {
	c := leadership{
		leaders:     make(map[topicPartition]map[int32]int32),
		controllers: make(map[int32]int32),
	}
	for _, e := range events {
		var err error
		switch {
		case e.Broker == 0:
		case e.Name == "partition.leader":
			err = c.partition(e)
		case e.Name == "controller.claimed":
			err = c.controller(e)
		}
		if err != nil {
			return nil, err
		}
	}
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

type leadership struct {
	leaders     map[topicPartition]map[int32]int32 // epoch → broker
	controllers map[int32]int32
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
	return nil
}

func (c *leadership) controller(e timeline.Event) error {
	var l struct {
		Epoch int32 `json:"epoch"`
	}
	if err := e.Decode(&l); err != nil {
		return err
	}
	if other, ok := c.controllers[l.Epoch]; ok && other != e.Broker {
		c.violate(e, DoubleController, "brokers %d and %d both claimed controller epoch %d", other, e.Broker, l.Epoch)
	}
	c.controllers[l.Epoch] = e.Broker
	return nil
}
