package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// script drives one group. Commands:
//
//	new [initial-delay=D] [max-members=N] [retention=D]
//	join ID|new=ID [instance=I] [protocols=(name:metadata,…)] [session=D] [rebalance=D] [type=T] [required]   a version that requires ids
//	sync ID gen=N [instance=I] [assign=(member:bytes,…)] [protocol=P]
//	heartbeat ID gen=N [instance=I]
//	leave ID… | leave instance=I
//	commit [member=ID] [gen=N] offsets=(topic/partition@offset,…)
//	append-ok | append-fail        the oldest append under way
//	advance D                      time passes, with a Tick at each deadline
//	tick-at-deadline               to the next deadline
//	forget offsets=(topic/partition,…) | topics-deleted TOPIC | delete | reload
//
// Each prints the replies and appends, and then the whole group.
type script struct {
	g      *Group
	now    time.Time
	ticket Ticket
	names  map[Ticket]string
	under  []Append
	log    []Record // what was appended, in order
	out    strings.Builder
}

func TestGroup(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{now: time.Unix(0, 0).UTC(), names: map[Ticket]string{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			s.state()
			return s.out.String()
		})
	})
}

func (s *script) run(t *testing.T, d *datadriven.TestData) {
	switch d.Cmd {
	case "new":
		s.g, s.under, s.log = New("g", Rules{
			InitialDelay: duration(t, d, "initial-delay", 0), OffsetsRetention: duration(t, d, "retention", 0),
			MaxMembers: int(number(t, d, "max-members", 0)),
		}, s.now), nil, nil
	case "join":
		s.request(d, s.join(t, d))
	case "sync":
		e := Sync{MemberID: first(d), InstanceID: optional(d, "instance"), Generation: int32(number(t, d, "gen", 0)), Protocol: optional(d, "protocol"), Assignments: map[string][]byte{}}
		for _, a := range list(d, "assign") {
			k, v, _ := strings.Cut(a, ":")
			e.Assignments[k] = []byte(v)
		}
		s.request(d, e)
	case "heartbeat":
		s.request(d, Heartbeat{MemberID: first(d), InstanceID: optional(d, "instance"), Generation: int32(number(t, d, "gen", 0))})
	case "leave":
		e := Leave{}
		if i := optional(d, "instance"); i != nil {
			e.Members = append(e.Members, Identity{InstanceID: i})
		}
		for _, a := range d.CmdArgs {
			if len(a.Vals) == 0 {
				e.Members = append(e.Members, Identity{MemberID: a.Key})
			}
		}
		s.request(d, e)
	case "commit":
		e := Commit{Generation: int32(number(t, d, "gen", -1)), InstanceID: optional(d, "instance")}
		if m := optional(d, "member"); m != nil {
			e.MemberID = *m
		}
		for _, o := range list(d, "offsets") {
			tp, off, _ := strings.Cut(o, "@")
			n, _ := strconv.ParseInt(off, 10, 64)
			e.Offsets = append(e.Offsets, Offset{TopicPartition: parsePartition(tp), Offset: n, LeaderEpoch: -1})
		}
		s.request(d, e)
	case "forget":
		e := DeleteOffsets{}
		for _, o := range list(d, "offsets") {
			e.Partitions = append(e.Partitions, parsePartition(o))
		}
		s.request(d, e)
	case "topics-deleted":
		gone := s.g.without(func(topic string) bool { return topic != first(d) })
		s.step(TopicsDeleted{Partitions: gone})
	case "delete":
		s.request(d, Delete{})
	case "append-ok":
		a := s.under[0]
		s.under = s.under[1:]
		s.log = append(s.log, a.Records...)
		s.step(a.Then)
	case "append-fail":
		a := s.under[0]
		s.under = s.under[1:]
		a.Then.Err = ErrUnavailable
		s.step(a.Then)
	case "advance":
		s.advance(s.now.Add(mustDuration(t, first(d))))
	case "tick-at-deadline":
		s.advance(s.g.Deadline())
	case "reload":
		s.reload(t)
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
}

func (s *script) join(t *testing.T, d *datadriven.TestData) Join {
	e := Join{InstanceID: optional(d, "instance"), ClientID: "client", ClientHost: "/host", ProtocolType: "consumer",
		SessionTimeout: duration(t, d, "session", 10*time.Second), RebalanceTimeout: duration(t, d, "rebalance", time.Minute), RequireID: d.HasArg("required")}
	if id := optional(d, "new"); id != nil {
		e.NewID = *id
	} else {
		e.MemberID = first(d)
	}
	if v := optional(d, "type"); v != nil {
		e.ProtocolType = *v
	}
	protocols := list(d, "protocols")
	if protocols == nil {
		protocols = []string{"range:m"}
	}
	for _, p := range protocols {
		name, metadata, _ := strings.Cut(p, ":")
		e.Protocols = append(e.Protocols, Protocol{Name: name, Metadata: []byte(metadata)})
	}
	return e
}

func (s *script) request(d *datadriven.TestData, e Requested) {
	s.ticket++
	s.names[s.ticket] = d.Cmd
	if len(d.CmdArgs) > 0 {
		s.names[s.ticket] += " " + d.CmdArgs[0].String()
	}
	s.step(e.WithTicket(s.ticket))
}

func (s *script) step(e Event) {
	for _, a := range s.g.Step(s.now, e) {
		switch a := a.(type) {
		case Reply:
			fmt.Fprintf(&s.out, "reply to %q: %s\n", s.names[a.Ticket], show(a.Body))
			delete(s.names, a.Ticket)
		case Append:
			s.under = append(s.under, a)
			for _, r := range a.Records {
				fmt.Fprintf(&s.out, "append %s\n", showRecord(r))
			}
		}
	}
}

// advance ticks at every deadline on the way; one that does not move on is an endless loop in the shell.
func (s *script) advance(to time.Time) {
	for i := 0; ; i++ {
		d := s.g.Deadline()
		if d.IsZero() || d.After(to) {
			break
		}
		if i > 100 {
			s.out.WriteString("ERROR: deadline does not move\n")
			return
		}
		if d.After(s.now) {
			s.now = d
			fmt.Fprintf(&s.out, "at %v:\n", s.now.Sub(time.Unix(0, 0)))
		}
		s.step(Tick{})
	}
	s.now = to
}

// reload replays what was appended, as a new coordinator does.
func (s *script) reload(t *testing.T) {
	groups := map[string]*Group{}
	for _, r := range s.log {
		if err := replay(groups, r, s.g.rules, s.now); err != nil {
			t.Fatal(err)
		}
	}
	s.under = nil
	s.g = groups["g"]
	if s.g == nil {
		s.out.WriteString("no group\n")
		s.g = New("g", Rules{}, s.now)
	}
}

func (s *script) state() {
	g := s.g
	fmt.Fprintf(&s.out, "%v %s generation=%d", s.now.Sub(time.Unix(0, 0)), g.State, g.Generation)
	if g.Protocol != "" {
		fmt.Fprintf(&s.out, " protocol=%s", g.Protocol)
	}
	if g.Leader != "" {
		fmt.Fprintf(&s.out, " leader=%s", g.Leader)
	}
	if d := g.Deadline(); !d.IsZero() {
		fmt.Fprintf(&s.out, " deadline=%v", d.Sub(time.Unix(0, 0)))
	}
	fmt.Fprintf(&s.out, " appends=%d removable=%v\n", g.inFlight, g.Removable())
	for _, m := range g.ordered() {
		fmt.Fprintf(&s.out, "  %s", m.id)
		if m.instance != nil {
			fmt.Fprintf(&s.out, " instance=%s", *m.instance)
		}
		if m.assignment != nil {
			fmt.Fprintf(&s.out, " assignment=%s", m.assignment)
		}
		if m.waiting() {
			fmt.Fprintf(&s.out, " waiting=%v/%v", m.join != 0, m.sync != 0)
		} else {
			fmt.Fprintf(&s.out, " expires=%v", m.expires.Sub(time.Unix(0, 0)))
		}
		s.out.WriteString("\n")
	}
	for _, id := range slices.Sorted(maps.Keys(g.pending)) {
		fmt.Fprintf(&s.out, "  %s told, lapses=%v\n", id, g.pending[id].Sub(time.Unix(0, 0)))
	}
	tps, cs := g.Offsets()
	for i, tp := range tps {
		fmt.Fprintf(&s.out, "  %s/%d@%d\n", tp.Topic, tp.Partition, cs[i].Offset)
	}
}

func show(body any) string {
	switch r := body.(type) {
	case JoinReply:
		if r.Err != nil {
			return fmt.Sprintf("%v (member %s)", r.Err, r.MemberID)
		}
		out := fmt.Sprintf("joined as %s generation=%d protocol=%s leader=%s", r.MemberID, r.Generation, r.Protocol, r.Leader)
		for _, m := range r.Members {
			out += fmt.Sprintf(" [%s %s]", m.ID, m.Metadata)
		}
		return out
	case SyncReply:
		if r.Err != nil {
			return r.Err.Error()
		}
		return fmt.Sprintf("assigned %q", r.Assignment)
	case LeaveReply:
		return fmt.Sprint(r.Errs)
	case CommitReply:
		return fmt.Sprint(r.Errs)
	case Answer:
		return fmt.Sprint(r.Err)
	}
	return fmt.Sprintf("%#v", body)
}

func showRecord(r Record) string {
	if binary.BigEndian.Uint16(r.Key) == groupKeyVersion {
		var v kmsg.GroupMetadataValue
		if r.Value == nil {
			return "group: deleted"
		}
		if err := v.ReadFrom(r.Value); err != nil {
			return err.Error()
		}
		out := fmt.Sprintf("group: generation=%d", v.Generation)
		for _, m := range v.Members {
			out += fmt.Sprintf(" [%s %s]", m.MemberID, m.Assignment)
		}
		return out
	}
	var k kmsg.OffsetCommitKey
	v := kmsg.NewOffsetCommitValue()
	if err := k.ReadFrom(r.Key); err != nil {
		return err.Error()
	}
	if r.Value == nil {
		return fmt.Sprintf("offset: %s/%d deleted", k.Topic, k.Partition)
	}
	if err := v.ReadFrom(r.Value); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("offset: %s/%d@%d", k.Topic, k.Partition, v.Offset)
}

func first(d *datadriven.TestData) string {
	if len(d.CmdArgs) == 0 {
		return ""
	}
	return d.CmdArgs[0].Key
}

func optional(d *datadriven.TestData, key string) *string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return &a.Vals[0]
		}
	}
	return nil
}

func list(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func number(t *testing.T, d *datadriven.TestData, key string, otherwise int64) int64 {
	t.Helper()
	v := optional(d, key)
	if v == nil {
		return otherwise
	}
	n, err := strconv.ParseInt(*v, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t *testing.T, d *datadriven.TestData, key string, otherwise time.Duration) time.Duration {
	t.Helper()
	if v := optional(d, key); v != nil {
		return mustDuration(t, *v)
	}
	return otherwise
}

func mustDuration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parsePartition(s string) TopicPartition {
	topic, p, _ := strings.Cut(s, "/")
	n, _ := strconv.Atoi(p)
	return TopicPartition{Topic: topic, Partition: int32(n)}
}

// What Java gives: Math.abs("…".hashCode()) % 50, but 0 for the one hash code without an absolute value.
func TestPartition(t *testing.T) {
	for _, tt := range []struct {
		group string
		of    int32
		want  int32
	}{
		{"", 50, 0},
		{"a", 50, 97 % 50},
		{"my-group", 50, 12},
		{"polygenelubricants", 50, 0}, // hash code -2³¹
		{"gruppe-ä", 7, 6},
		{"\U0001f600", 50, (0xd83d*31 + 0xde00) % 50},
	} {
		if got := Partition(tt.group, tt.of); got != tt.want {
			t.Errorf("Partition(%q, %d) = %d, want %d", tt.group, tt.of, got, tt.want)
		}
	}
}

func TestReplayRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, r := range []Record{{Key: nil}, {Key: []byte{0}}, {Key: []byte{0, 9, 0}}, {Key: []byte{0, 1, 0}}, {Key: groupKey("g"), Value: []byte{0}}, {Key: offsetKey("g", TopicPartition{Topic: "t"}), Value: []byte{0, 3}}} {
		if err := replay(map[string]*Group{}, r, Rules{}, time.Time{}); err == nil {
			t.Errorf("replay(%x) = nil, want an error", r.Key)
		}
	}
}
