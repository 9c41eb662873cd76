package group

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicPartition names a partition.
type TopicPartition = cluster.TopicPartition

// Offset is an offset to commit.
type Offset struct {
	TopicPartition
	Offset      int64
	LeaderEpoch int32 // -1 when not known
	Metadata    string
}

// Committed is a committed offset.
type Committed struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
	Time        time.Time
}

// committed is the continuation of appended offsets.
type committed struct {
	ticket  Ticket
	at      time.Time
	offsets []Offset         // to remember
	forget  []TopicPartition // to forget
	refused []error          // of the reply, by position
}

// deleted is the continuation of an appended deletion of the group.
type deleted struct {
	ticket Ticket
	before State
}

func (e Commit) apply(g *Group, now time.Time) {
	c := &committed{ticket: e.Ticket, at: now, refused: make([]error, len(e.Offsets))}
	if err := g.committing(e, now); err != nil {
		g.reply(e.Ticket, c.reply(err))
		return
	}
	var records []Record
	for i, o := range e.Offsets {
		if len(o.Metadata) > g.rules.MaxMetadata {
			c.refused[i] = ErrMetadataTooLarge
			continue
		}
		c.offsets = append(c.offsets, o)
		records = append(records, offsetRecord(g.ID, o, now))
	}
	if len(records) == 0 {
		g.reply(e.Ticket, c.reply(nil))
		return
	}
	g.append(records, Appended{committed: c})
}

// committing says whether the sender may commit: a member of the generation, or, while there are no members, anybody without a generation.
func (g *Group) committing(e Commit, now time.Time) error {
	if g.State == Dead {
		return ErrUnavailable
	}
	if e.Generation < 0 && g.State == Empty {
		return nil
	}
	m, err := g.current(e.MemberID, e.InstanceID, e.Generation)
	if err != nil {
		return err
	}
	if g.State == CompletingRebalance {
		return ErrRebalanceInProgress // the partitions may belong to somebody else now
	}
	m.alive(now)
	return nil
}

func (c *committed) reply(err error) CommitReply {
	for i := range c.refused {
		if c.refused[i] == nil {
			c.refused[i] = err
		}
	}
	return CommitReply{Errs: c.refused}
}

func (c *committed) finish(g *Group, err error) {
	if err == nil {
		for _, o := range c.offsets {
			g.offsets[o.TopicPartition] = Committed{Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, Time: c.at}
		}
		for _, tp := range c.forget {
			delete(g.offsets, tp)
		}
	}
	g.reply(c.ticket, c.reply(err))
}

func (e DeleteOffsets) apply(g *Group, now time.Time) {
	c := &committed{ticket: e.Ticket, at: now, refused: make([]error, len(e.Partitions))}
	var records []Record
	for i, tp := range e.Partitions {
		if g.subscribed(tp.Topic) {
			c.refused[i] = ErrSubscribed
			continue
		}
		if _, ok := g.offsets[tp]; ok {
			c.forget = append(c.forget, tp)
			records = append(records, offsetTombstone(g.ID, tp))
		}
	}
	if len(records) == 0 {
		g.reply(e.Ticket, c.reply(nil))
		return
	}
	g.append(records, Appended{committed: c})
}

func (e TopicsDeleted) apply(g *Group, now time.Time) {
	c := &committed{at: now, forget: e.Partitions}
	records := make([]Record, len(e.Partitions))
	for i, tp := range e.Partitions {
		records[i] = offsetTombstone(g.ID, tp)
	}
	g.append(records, Appended{committed: c})
}

// without are the partitions with an offset whose topic does not exist.
func (g *Group) without(exists func(topic string) bool) []TopicPartition {
	if g.State == Dead {
		return nil
	}
	var gone []TopicPartition
	for tp := range g.offsets {
		if !exists(tp.Topic) {
			gone = append(gone, tp)
		}
	}
	slices.SortFunc(gone, byName)
	return gone
}

// subscribed says whether a member consumes the topic. Members whose metadata cannot be read may consume anything.
func (g *Group) subscribed(topic string) bool {
	for _, m := range g.members {
		var sub kmsg.ConsumerMemberMetadata
		if g.ProtocolType != "consumer" || len(m.protocols) == 0 || sub.ReadFrom(m.protocols[0].Metadata) != nil || slices.Contains(sub.Topics, topic) {
			return true
		}
	}
	return false
}

func (e Delete) apply(g *Group, now time.Time) {
	switch {
	case g.State == Dead:
		g.reply(e.Ticket, Answer{Err: ErrGroupNotFound})
	case g.State != Empty || len(g.pending) > 0:
		g.reply(e.Ticket, Answer{Err: ErrNotEmpty})
	default:
		g.delete(e.Ticket, now)
	}
}

func (g *Group) delete(t Ticket, now time.Time) {
	records := make([]Record, 0, len(g.offsets)+1)
	for _, tp := range g.committedPartitions() {
		records = append(records, offsetTombstone(g.ID, tp))
	}
	records = append(records, groupTombstone(g.ID))
	d := &deleted{ticket: t, before: g.State}
	g.become(Dead, now)
	g.append(records, Appended{deleted: d})
}

func (d *deleted) finish(g *Group, now time.Time, err error) {
	if err != nil {
		g.become(d.before, now)
	}
	g.reply(d.ticket, Answer{Err: err})
}

func (e Appended) apply(g *Group, now time.Time) {
	g.inFlight--
	switch {
	case e.assigned != nil:
		e.assigned.finish(g, now, e.Err)
	case e.committed != nil:
		e.committed.finish(g, e.Err)
	case e.deleted != nil:
		e.deleted.finish(g, now, e.Err)
	}
}

// Committed returns the committed offset of a partition.
func (g *Group) Committed(tp TopicPartition) (Committed, bool) {
	c, ok := g.offsets[tp]
	return c, ok
}

// committedPartitions are the partitions with a committed offset, ordered.
func (g *Group) committedPartitions() []TopicPartition {
	return slices.SortedFunc(maps.Keys(g.offsets), byName)
}

func byName(a, b TopicPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Offsets are the partitions with a committed offset, ordered, with the offsets.
func (g *Group) Offsets() ([]TopicPartition, []Committed) {
	tps := g.committedPartitions()
	cs := make([]Committed, len(tps))
	for i, tp := range tps {
		cs[i] = g.offsets[tp]
	}
	return tps, cs
}
