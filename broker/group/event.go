package group

import (
	"time"
)

// Ticket names a request that waits for its reply; 0 is nobody.
type Ticket uint64

// Event is something that happens to a group.
type Event interface {
	apply(g *Group, now time.Time)
}

// Requested is an event that somebody waits for.
type Requested interface {
	Event
	// WithTicket returns the event with the ticket that its reply will carry.
	WithTicket(Ticket) Event
}

// Protocol is an assignment protocol that a member supports, with what it tells the leader.
type Protocol struct {
	Name     string
	Metadata []byte
}

// Join asks to be a member. Reply: JoinReply.
type Join struct {
	Ticket                           Ticket
	MemberID                         string // empty for a new member
	NewID                            string // the id that a new member gets; the sender makes it unique
	InstanceID                       *string
	ClientID, ClientHost             string
	SessionTimeout, RebalanceTimeout time.Duration
	ProtocolType                     string
	Protocols                        []Protocol
	// RequireID: a new dynamic member is first told its id, and joins only when it comes back with it (KIP-394): a client that gave up leaves no ghost.
	RequireID bool
}

// JoinReply tells the new generation.
type JoinReply struct {
	Err          error
	Generation   int32
	ProtocolType string
	Protocol     string
	Leader       string
	MemberID     string
	Members      []JoinMember // for the leader
}

// JoinMember is what the leader learns of a member.
type JoinMember struct {
	ID         string
	InstanceID *string
	Metadata   []byte
}

// Sync asks for the assignment; the leader's brings it. Reply: SyncReply.
type Sync struct {
	Ticket                 Ticket
	MemberID               string
	InstanceID             *string
	Generation             int32
	ProtocolType, Protocol *string // checked when not nil
	Assignments            map[string][]byte
}

// SyncReply tells the assignment.
type SyncReply struct {
	Err                    error
	ProtocolType, Protocol string
	Assignment             []byte
}

// Heartbeat keeps a member alive. Reply: Answer.
type Heartbeat struct {
	Ticket     Ticket
	MemberID   string
	InstanceID *string
	Generation int32
}

// Leave removes members. Reply: LeaveReply.
type Leave struct {
	Ticket  Ticket
	Members []Identity
}

// Identity names a member, by its id, its instance id, or both.
type Identity struct {
	MemberID   string
	InstanceID *string
}

// LeaveReply has an error or nil for each member, in order.
type LeaveReply struct {
	Errs []error
}

// Commit commits offsets. A negative generation is a consumer without membership. Reply: CommitReply.
type Commit struct {
	Ticket     Ticket
	MemberID   string
	InstanceID *string
	Generation int32
	Offsets    []Offset
}

// CommitReply has an error or nil for each offset, in order.
type CommitReply struct {
	Errs []error
}

// Delete deletes the group with its offsets. Reply: Answer.
type Delete struct {
	Ticket Ticket
}

// DeleteOffsets forgets committed offsets. Reply: CommitReply.
type DeleteOffsets struct {
	Ticket     Ticket
	Partitions []TopicPartition
}

// TopicsDeleted forgets the offsets of partitions that do not exist any more, whoever consumes them. No reply.
type TopicsDeleted struct {
	Partitions []TopicPartition
}

// Tick lets time pass: see Group.Deadline. No reply.
type Tick struct{}

// Appended tells that the records of an Append are on all in-sync replicas, or why not. No reply of its own.
type Appended struct {
	Err error
	// Which of the following was appended; one is set.
	assigned  *assigned
	committed *committed
	deleted   *deleted
}

// Answer is success or an error.
type Answer struct {
	Err error
}

func (e Join) WithTicket(t Ticket) Event          { e.Ticket = t; return e }
func (e Sync) WithTicket(t Ticket) Event          { e.Ticket = t; return e }
func (e Heartbeat) WithTicket(t Ticket) Event     { e.Ticket = t; return e }
func (e Leave) WithTicket(t Ticket) Event         { e.Ticket = t; return e }
func (e Commit) WithTicket(t Ticket) Event        { e.Ticket = t; return e }
func (e Delete) WithTicket(t Ticket) Event        { e.Ticket = t; return e }
func (e DeleteOffsets) WithTicket(t Ticket) Event { e.Ticket = t; return e }

// Action is something for the shell to do, in the order given.
type Action interface{ action() }

// Reply answers the request with the ticket. Body is of the type named at the event.
type Reply struct {
	Ticket Ticket
	Body   any
}

// Append appends the records, as one batch, and then steps Then with the outcome. Appends of one shard finish in order.
type Append struct {
	Records []Record
	Then    Appended
}

func (Reply) action()  {}
func (Append) action() {}
