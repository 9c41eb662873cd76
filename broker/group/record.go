package group

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/regency-project/regency/storage/record"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of Kafka's formats that are written. Kafka 2.1 and newer read them. The formats have an extra version 0 of the offset key, which reads alike.
const (
	offsetKeyVersion   = 1
	offsetValueVersion = 3
	groupKeyVersion    = 2
	groupValueVersion  = 3
)

// Record is a record of the internal topic. A nil Value deletes what Key names.
type Record struct {
	Key, Value []byte
}

func offsetKey(group string, tp TopicPartition) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: tp.Topic, Partition: tp.Partition}
	return k.AppendTo(nil)
}

func offsetRecord(group string, o Offset, now time.Time) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version, v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp = offsetValueVersion, o.Offset, o.LeaderEpoch, o.Metadata, now.UnixMilli()
	return Record{Key: offsetKey(group, o.TopicPartition), Value: v.AppendTo(nil)}
}

func offsetTombstone(group string, tp TopicPartition) Record {
	return Record{Key: offsetKey(group, tp)}
}

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: group}
	return k.AppendTo(nil)
}

func groupTombstone(group string) Record { return Record{Key: groupKey(group)} }

// record is the group as it is now, with new assignments, or, when they are nil, those that the members have.
func (g *Group) record(now time.Time, assignments map[string][]byte) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation, v.CurrentStateTimestamp = groupValueVersion, g.ProtocolType, g.Generation, now.UnixMilli()
	if g.Protocol != "" {
		v.Protocol = kmsg.StringPtr(g.Protocol)
	}
	if g.Leader != "" {
		v.Leader = kmsg.StringPtr(g.Leader)
	}
	for _, m := range g.ordered() {
		gm := kmsg.NewGroupMetadataValueMember()
		gm.MemberID, gm.InstanceID, gm.ClientID, gm.ClientHost = m.id, m.instance, m.clientID, m.host
		gm.RebalanceTimeoutMillis, gm.SessionTimeoutMillis = int32(m.rebalance.Milliseconds()), int32(m.session.Milliseconds())
		gm.Subscription, gm.Assignment = m.metadata(g.Protocol), m.assignment
		if assignments != nil {
			gm.Assignment = assignments[m.id]
		}
		v.Members = append(v.Members, gm)
	}
	return Record{Key: groupKey(g.ID), Value: v.AppendTo(nil)}
}

// batch encodes records as one record batch.
func batch(records []Record, now time.Time) []byte {
	rs := make([]record.Record, len(records))
	for i, r := range records {
		rs[i] = record.Record{Key: r.Key, Value: r.Value, Timestamp: now.UnixMilli()}
	}
	return record.Build(record.NoProducer, rs...)
}

// replay applies a record of the internal topic to the groups, as a new coordinator reads them.
func replay(groups map[string]*Group, r Record, rules Rules, now time.Time) error {
	if len(r.Key) < 2 {
		return fmt.Errorf("replay record: key of %d bytes", len(r.Key))
	}
	switch version := int16(binary.BigEndian.Uint16(r.Key)); version {
	case 0, 1:
		return replayOffset(groups, r, rules, now)
	case groupKeyVersion:
		return replayGroup(groups, r, rules, now)
	default:
		return fmt.Errorf("replay record: key version %d is not known", version)
	}
}

func replayOffset(groups map[string]*Group, r Record, rules Rules, now time.Time) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("replay offset key: %w", err)
	}
	tp := TopicPartition{Topic: k.Topic, Partition: k.Partition}
	g := groups[k.Group]
	if r.Value == nil {
		if g != nil {
			delete(g.offsets, tp)
		}
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("replay offset of group %q: %w", k.Group, err)
	}
	if g == nil {
		g = New(k.Group, rules, now)
		groups[k.Group] = g
	}
	g.offsets[tp] = Committed{Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: v.Metadata, Time: time.UnixMilli(v.CommitTimestamp)}
	return nil
}

func replayGroup(groups map[string]*Group, r Record, rules Rules, now time.Time) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("replay group key: %w", err)
	}
	g := New(k.Group, rules, now)
	if old := groups[k.Group]; old != nil {
		g.offsets = old.offsets
	}
	if r.Value == nil {
		delete(groups, k.Group)
		if len(g.offsets) > 0 {
			groups[k.Group] = g
		}
		return nil
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("replay group %q: %w", k.Group, err)
	}
	g.restore(v, now)
	groups[k.Group] = g
	return nil
}

// restore takes over a kept generation. Members get a new session: how long they were silent is not known.
func (g *Group) restore(v kmsg.GroupMetadataValue, now time.Time) {
	g.Generation, g.ProtocolType = v.Generation, v.ProtocolType
	if v.CurrentStateTimestamp > 0 {
		g.changed = time.UnixMilli(v.CurrentStateTimestamp)
	}
	if v.Protocol != nil {
		g.Protocol = *v.Protocol
	}
	if v.Leader != nil {
		g.Leader = *v.Leader
	}
	for _, gm := range v.Members {
		m := &member{id: gm.MemberID, instance: gm.InstanceID, clientID: gm.ClientID, host: gm.ClientHost, assignment: gm.Assignment, synced: true}
		m.session = max(time.Duration(gm.SessionTimeoutMillis)*time.Millisecond, g.rules.MinSession)
		m.rebalance = max(time.Duration(gm.RebalanceTimeoutMillis)*time.Millisecond, m.session)
		m.protocols = []Protocol{{Name: g.Protocol, Metadata: gm.Subscription}}
		m.alive(now)
		g.members[m.id] = m
		if m.instance != nil {
			g.static[*m.instance] = m.id
		}
		g.State = Stable
	}
}
