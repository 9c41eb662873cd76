package group

import (
	"time"
)

// assigned is the continuation of an appended generation. Generation -1 needs none.
type assigned struct {
	generation  int32
	assignments map[string][]byte
}

func (e Sync) apply(g *Group, now time.Time) {
	m, err := g.syncing(e)
	if err != nil {
		g.reply(e.Ticket, SyncReply{Err: err})
		return
	}
	m.alive(now)
	if g.State == Stable {
		g.reply(e.Ticket, g.assignment(m))
		return
	}
	g.reply(m.sync, SyncReply{Err: ErrRebalanceInProgress}) // the same member's earlier try
	m.sync, m.synced = e.Ticket, true
	if m.id != g.Leader || g.assigning {
		return
	}
	g.assigning = true
	all := make(map[string][]byte, len(g.members))
	for id := range g.members {
		all[id] = e.Assignments[id]
	}
	g.append([]Record{g.record(now, all)}, Appended{assigned: &assigned{generation: g.Generation, assignments: all}})
}

func (g *Group) syncing(e Sync) (*member, error) {
	m, err := g.current(e.MemberID, e.InstanceID, e.Generation)
	if err != nil {
		return nil, err
	}
	if e.ProtocolType != nil && *e.ProtocolType != g.ProtocolType || e.Protocol != nil && *e.Protocol != g.Protocol {
		return nil, ErrInconsistentProtocol
	}
	switch g.State {
	case CompletingRebalance, Stable:
		return m, nil
	case PreparingRebalance:
		return nil, ErrRebalanceInProgress
	}
	return nil, ErrUnknownMember
}

func (g *Group) assignment(m *member) SyncReply {
	return SyncReply{ProtocolType: g.ProtocolType, Protocol: g.Protocol, Assignment: m.assignment}
}

// finish makes the group stable, or, when the assignment could not be kept, lets the members join again. A generation that has passed meanwhile is ignored.
func (a *assigned) finish(g *Group, now time.Time, err error) {
	if g.State != CompletingRebalance || g.Generation != a.generation {
		return
	}
	g.assigning = false
	if err != nil {
		g.failSync(err)
		g.rebalance(now)
		return
	}
	g.become(Stable, now)
	for _, m := range g.ordered() {
		m.assignment = a.assignments[m.id]
		if m.sync != 0 {
			m.alive(now)
			g.reply(m.sync, g.assignment(m))
			m.sync = 0
		}
	}
}

func (e Heartbeat) apply(g *Group, now time.Time) {
	m, err := g.current(e.MemberID, e.InstanceID, e.Generation)
	if err == nil {
		m.alive(now)
		if g.State == PreparingRebalance {
			err = ErrRebalanceInProgress
		}
	}
	g.reply(e.Ticket, Answer{Err: err})
}

func (e Leave) apply(g *Group, now time.Time) {
	r := LeaveReply{Errs: make([]error, len(e.Members))}
	before := len(g.members)
	for i, id := range e.Members {
		r.Errs[i] = g.leave(id)
	}
	g.reply(e.Ticket, r)
	if len(g.members) < before {
		g.afterLoss(now)
	}
	g.tryComplete(now) // one that was only told an id may have been the last to wait for
}

func (g *Group) leave(id Identity) error {
	if _, ok := g.pending[id.MemberID]; ok && id.InstanceID == nil {
		delete(g.pending, id.MemberID)
		return nil
	}
	memberID := id.MemberID
	if memberID == "" && g.knows(id.InstanceID) {
		memberID = g.static[*id.InstanceID] // an administrator removes the instance, whoever it is now
	}
	m, err := g.find(memberID, id.InstanceID)
	if err != nil {
		return err
	}
	g.drop(m, ErrUnknownMember)
	return nil
}
