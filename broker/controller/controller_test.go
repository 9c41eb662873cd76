package controller

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// TestScripts drives Step by the scripts of testdata, which print the whole state after each command. To rewrite them: go test ./controller -rewrite, then read
// the diff.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		m := &model{t: t, view: cluster.Empty(), present: map[int32]coordination.Registered{}, batch: 1000}
		datadriven.RunTest(t, path, m.run)
	})
}

type model struct {
	t       *testing.T
	view    *cluster.View
	present map[int32]coordination.Registered
	batch   int // mutations a commit
	die     int // commits after which the controller dies; 0: it lives
	ids     byte
}

func (m *model) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "limits":
		m.batch, m.die = m.arg(d, "mutations", 1000), m.arg(d, "die", 0)
		return ""
	case "registrations":
		return m.registrations(d)
	case "create":
		m.ids++
		e := CreateTopic{Name: m.text(d, "name"), ID: [16]byte{m.ids}, Partitions: int32(m.arg(d, "partitions", -1)), ReplicationFactor: int16(m.arg(d, "rf", -1)),
			Seed: uint64(m.arg(d, "seed", 0)), MaxPartitions: 1000, ValidateOnly: d.HasArg("validate-only"), Configs: map[string]string{}}
		for line := range strings.Lines(d.Input) {
			line = strings.TrimSpace(line)
			if name, value, ok := strings.Cut(line, "="); ok {
				e.Configs[name] = value
			} else {
				e.Assignment = append(e.Assignment, m.ints(line))
			}
		}
		return m.step(e)
	case "create-partitions":
		e := CreatePartitions{Name: m.text(d, "name"), Count: int32(m.arg(d, "count", 0)), MaxPartitions: 1000, ValidateOnly: d.HasArg("validate-only")}
		for line := range strings.Lines(d.Input) {
			e.Assignment = append(e.Assignment, m.ints(strings.TrimSpace(line)))
		}
		return m.step(e)
	case "delete":
		return m.step(DeleteTopic{Name: m.text(d, "name")})
	case "alter":
		return m.alter(d)
	case "shutdown":
		id := int32(m.arg(d, "broker", 0))
		return m.step(ControlledShutdown{Broker: id, BrokerEpoch: int64(m.arg(d, "epoch", int(m.view.Brokers[id].Epoch)))})
	case "producer-ids":
		id := int32(m.arg(d, "broker", 0))
		return m.step(AllocateProducerIDs{Broker: id, BrokerEpoch: int64(m.arg(d, "epoch", int(m.view.Brokers[id].Epoch)))})
	case "wants-rebalance":
		return fmt.Sprintln(WantsRebalance(m.view))
	case "rebalance":
		return m.step(Rebalance{})
	case "collect-orphans":
		return m.step(CollectOrphans{})
	case "keys":
		keys := m.view.Keys()
		slices.Sort(keys)
		return strings.Join(keys, "\n") + "\n"
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return ""
}

// registrations changes the set of present registrations by lines "+ID DIRECTORY INCARNATION" and "-ID", and tells the controller.
func (m *model) registrations(d *datadriven.TestData) string {
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		id := m.ints(strings.TrimLeft(f[0], "+-"))[0]
		delete(m.present, id)
		if f[0][0] == '+' {
			e := cluster.Endpoint{Host: "b" + strconv.Itoa(int(id)), Port: 9092}
			attributes := cluster.Attributes{Client: e, Peer: e}.Encode()
			if len(f) > 3 {
				attributes = []byte(f[3])
			}
			m.present[id] = coordination.Registered{Registration: coordination.Registration{ID: id, DirectoryUUID: f[1], Incarnation: f[2], Attributes: attributes}}
		}
	}
	return m.step(RegistrationsChanged{Present: slices.Collect(maps.Values(m.present))})
}

// alter proposes ISRs by lines "TOPIC PARTITION isr=ID:EPOCH,… [leader-epoch=N] [partition-epoch=N]"; epochs left out are the current ones.
func (m *model) alter(d *datadriven.TestData) string {
	id := int32(m.arg(d, "broker", 0))
	e := AlterPartition{Broker: id, BrokerEpoch: int64(m.arg(d, "epoch", int(m.view.Brokers[id].Epoch)))}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		n := m.ints(f[1])[0]
		c := ISRChange{Partition: n}
		if topic := m.view.Topics[f[0]]; topic != nil {
			c.TopicID = topic.ID
		}
		p, _ := m.view.Partition(cluster.TopicPartition{Topic: f[0], Partition: n})
		c.LeaderEpoch, c.PartitionEpoch = p.LeaderEpoch, p.Epoch
		for _, arg := range f[2:] {
			key, value, _ := strings.Cut(arg, "=")
			switch key {
			case "leader-epoch":
				c.LeaderEpoch = m.ints(value)[0]
			case "partition-epoch":
				c.PartitionEpoch = m.ints(value)[0]
			case "isr":
				for member := range strings.SplitSeq(value, ",") {
					if member == "" {
						continue // nobody
					}
					id, epoch, given := strings.Cut(member, ":")
					im := ISRMember{ID: m.ints(id)[0]}
					im.Epoch = m.view.Brokers[im.ID].Epoch
					if given {
						im.Epoch = int64(m.ints(epoch)[0])
					}
					c.ISR = append(c.ISR, im)
				}
			}
		}
		e.Changes = append(e.Changes, c)
	}
	return m.step(e)
}

// step does what the loop does: it commits the mutations in pieces, and steps again when asked.
func (m *model) step(e Event) string {
	var out strings.Builder
	commits := 0
	for {
		r := Step(m.view, e)
		if r.Err != nil {
			fmt.Fprintf(&out, "refused: %v\n", r.Err)
			return out.String()
		}
		for ms := range slices.Chunk(r.Mutations, m.batch) {
			m.commit(&out, ms)
			if commits++; commits == m.die {
				out.WriteString("the controller dies\n")
				m.die = 0
				m.print(&out)
				return out.String()
			}
		}
		if !r.Again {
			reply(&out, r.Reply)
			break
		}
	}
	m.print(&out)
	return out.String()
}

func (m *model) commit(out *strings.Builder, ms []coordination.Mutation) {
	v, err := m.view.Apply(coordination.Event{Kind: coordination.Delta, Seq: m.view.Seq + 1, Epoch: 1, Holder: 1, Mutations: ms})
	if err != nil {
		m.t.Fatalf("apply mutations of commit %d: %v", m.view.Seq+1, err)
	}
	fmt.Fprintf(out, "commit %d:", v.Seq)
	for _, mu := range ms {
		sign := " "
		if mu.Value == nil {
			sign = " -"
		}
		out.WriteString(sign + mu.Key)
	}
	out.WriteString("\n")
	m.checkInvariants(m.view, v)
	m.view = v
}

// checkInvariants holds what no script should have to print: epochs never go back, leaders are in the ISR, and the ISR is never empty.
func (m *model) checkInvariants(old, v *cluster.View) {
	for name, topic := range v.Topics {
		for i, p := range topic.Partitions {
			if len(p.ISR) == 0 || len(p.ISR) != len(p.Directories) {
				m.t.Errorf("%s-%d: ISR %v with directories %v", name, i, p.ISR, p.Directories)
			}
			if p.Leader != cluster.NoLeader && !slices.Contains(p.ISR, p.Leader) {
				m.t.Errorf("%s-%d: leader %d is not in ISR %v", name, i, p.Leader, p.ISR)
			}
			was, ok := old.Partition(cluster.TopicPartition{Topic: name, Partition: int32(i)})
			if !ok || old.Topics[name].ID != topic.ID {
				continue
			}
			// A leader begins another epoch only when a replica has said that its log is damaged: it is in no ISR then.
			left := p.Leader == was.Leader && (len(p.ISR) == len(was.ISR)-1 || slices.Equal(p.ISR, was.ISR)) && p.LeaderEpoch == was.LeaderEpoch+1
			if !left && (p.LeaderEpoch < was.LeaderEpoch || (p.Leader != was.Leader) != (p.LeaderEpoch != was.LeaderEpoch)) {
				m.t.Errorf("%s-%d: leader %d epoch %d became leader %d epoch %d", name, i, was.Leader, was.LeaderEpoch, p.Leader, p.LeaderEpoch)
			}
			if was.Leader != cluster.NoLeader && p.Leader != was.Leader && p.Leader != cluster.NoLeader && !slices.Contains(was.ISR, p.Leader) {
				m.t.Errorf("%s-%d: %d elected from outside of ISR %v", name, i, p.Leader, was.ISR)
			}
		}
	}
}

func reply(out *strings.Builder, r any) {
	switch r := r.(type) {
	case AlterPartitionReply:
		for _, result := range r.Results {
			if result.Err != nil {
				fmt.Fprintf(out, "refused: %v\n", result.Err)
			} else {
				fmt.Fprintf(out, "accepted: isr=%v epoch=%d\n", result.Partition.ISR, result.Partition.Epoch)
			}
		}
	case []cluster.TopicPartition:
		fmt.Fprintf(out, "remaining: %v\n", r)
	case ProducerIDBlock:
		fmt.Fprintf(out, "block: %d+%d\n", r.First, r.Len)
	case *cluster.Topic:
		fmt.Fprintf(out, "topic: %s %d partitions %v\n", r.Name, len(r.Partitions), r.Configs)
	}
}

func (m *model) print(out *strings.Builder) {
	for _, id := range slices.Sorted(maps.Keys(m.view.Brokers)) {
		b := m.view.Brokers[id]
		fmt.Fprintf(out, "broker %d: epoch=%d %s/%s", b.ID, b.Epoch, b.DirectoryUUID, b.Incarnation)
		if b.Fenced {
			out.WriteString(" fenced")
		}
		if b.Stopping {
			out.WriteString(" stopping")
		}
		out.WriteString("\n")
	}
	for _, t := range sortedTopics(m.view) {
		for i, p := range t.Partitions {
			if i >= 6 {
				fmt.Fprintf(out, "%s: and %d more\n", t.Name, len(t.Partitions)-i)
				break
			}
			fmt.Fprintf(out, "%s-%d: leader=%d/%d isr=%v %v of %v epoch=%d\n", t.Name, i, p.Leader, p.LeaderEpoch, p.ISR, p.Directories, p.Replicas, p.Epoch)
		}
	}
}

func (m *model) text(d *datadriven.TestData, key string) string {
	var s string
	d.MaybeScanArgs(m.t, key, &s)
	return s
}

func (m *model) arg(d *datadriven.TestData, key string, def int) int {
	d.MaybeScanArgs(m.t, key, &def)
	return def
}

func (m *model) ints(s string) []int32 {
	var ids []int32
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(f), 10, 32)
		if err != nil {
			m.t.Fatalf("parse %q: %v", s, err)
		}
		ids = append(ids, int32(n))
	}
	return ids
}
