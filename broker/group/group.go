package group

import (
	"maps"
	"slices"
	"time"
)

// State of a group.
type State uint8

const (
	Empty               State = iota // no members; it may have offsets
	PreparingRebalance               // waiting for members to join
	CompletingRebalance              // waiting for the leader's assignment
	Stable                           // every member has an assignment
	Dead                             // being deleted
)

// String is Kafka's name of the state.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// Rules are the limits that groups live by. Zero fields take the stated defaults.
type Rules struct {
	// InitialDelay is how long the first rebalance of an empty group waits for more members (Kafka's group.initial.rebalance.delay.ms, there 3 s). The default
	// is 0: a lone consumer starts at once, and several that start together rebalance once more.
	InitialDelay time.Duration
	// MinSession and MaxSession bound a member's session timeout; 1 s and 30 min.
	MinSession, MaxSession time.Duration
	// MaxMembers bounds a group; 5000.
	MaxMembers int
	// OffsetsRetention is how long the offsets of a group without members are kept; 7 days.
	OffsetsRetention time.Duration
	// MaxMetadata bounds the text that goes with an offset, in bytes; 4096.
	MaxMetadata int
}

func (r Rules) withDefaults() Rules {
	def := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&r.MinSession, time.Second)
	def(&r.MaxSession, 30*time.Minute)
	def(&r.OffsetsRetention, 7*24*time.Hour)
	if r.MaxMembers == 0 {
		r.MaxMembers = 5000
	}
	if r.MaxMetadata == 0 {
		r.MaxMetadata = 4096
	}
	return r
}

// Group is one consumer group.
type Group struct {
	ID           string
	State        State
	Generation   int32
	ProtocolType string // "consumer" for consumers
	Protocol     string // the one selected; empty without members
	Leader       string

	rules     Rules
	changed   time.Time // when State last changed
	members   map[string]*member
	static    map[string]string    // instance id → member id
	pending   map[string]time.Time // ids told by ErrMemberIDRequired → when they lapse
	offsets   map[TopicPartition]Committed
	inFlight  int  // appends under way
	assigning bool // the assignment of this generation is being appended

	// The rebalance under way.
	first     bool      // out of Empty: it waits for InitialDelay, not for members
	grew      bool      // a member joined since the delay was last set
	waitUntil time.Time // PreparingRebalance: complete without those who have not joined; CompletingRebalance: remove those who have not synced
	latest    time.Time // the first rebalance: no extension beyond

	actions []Action // of the step under way
}

type member struct {
	id, clientID, host string
	instance           *string
	session, rebalance time.Duration
	protocols          []Protocol
	assignment         []byte
	expires            time.Time
	join, sync         Ticket // waiting
	synced             bool   // has asked for the assignment of this generation
}

// New makes an empty group.
func New(id string, r Rules, now time.Time) *Group {
	return &Group{
		ID: id, rules: r.withDefaults(), changed: now,
		members: map[string]*member{}, static: map[string]string{}, pending: map[string]time.Time{}, offsets: map[TopicPartition]Committed{},
	}
}

// Step applies an event at a time, which must not go back, and returns what is to be done. The group must not be used meanwhile.
func (g *Group) Step(now time.Time, e Event) []Action {
	g.actions = nil
	e.apply(g, now)
	return g.actions
}

// Removable groups hold nothing: the shell may forget them.
func (g *Group) Removable() bool {
	return g.inFlight == 0 && len(g.members) == 0 && len(g.pending) == 0 &&
		(g.State == Dead || g.State == Empty && g.Generation == 0 && len(g.offsets) == 0)
}

func (g *Group) reply(t Ticket, body any) {
	if t != 0 {
		g.actions = append(g.actions, Reply{Ticket: t, Body: body})
	}
}

func (g *Group) append(records []Record, then Appended) {
	g.inFlight++
	g.actions = append(g.actions, Append{Records: records, Then: then})
}

func (g *Group) become(s State, now time.Time) {
	g.State, g.changed = s, now
}

// ordered are the members by id, so that equal histories give equal actions.
func (g *Group) ordered() []*member {
	list := make([]*member, 0, len(g.members))
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		list = append(list, g.members[id])
	}
	return list
}

func (m *member) alive(now time.Time) { m.expires = now.Add(m.session) }

// waiting members are kept alive by the coordinator: it is the one that makes them wait.
func (m *member) waiting() bool { return m.join != 0 || m.sync != 0 }

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func (m *member) supports(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

// find checks that a member is who it says (KIP-345): an instance id belongs to the member that joined with it last.
func (g *Group) find(memberID string, instance *string) (*member, error) {
	if instance != nil {
		id, ok := g.static[*instance]
		if !ok {
			return nil, ErrUnknownMember
		}
		if id != memberID {
			return nil, ErrFencedInstance
		}
	}
	m, ok := g.members[memberID]
	if !ok {
		return nil, ErrUnknownMember
	}
	return m, nil
}

// current is find for a member of the present generation.
func (g *Group) current(memberID string, instance *string, generation int32) (*member, error) {
	m, err := g.find(memberID, instance)
	if err != nil {
		return nil, err
	}
	if generation != g.Generation {
		return nil, ErrIllegalGeneration
	}
	return m, nil
}
