package group

import (
	"bytes"
	"slices"
	"time"
)

// pendingTimeout is how long an id that was told is kept for its member to come back, when that is shorter than its session.
const pendingTimeout = time.Minute

func (e Join) apply(g *Group, now time.Time) {
	if err := g.admit(e); err != nil {
		g.reply(e.Ticket, JoinReply{Err: err, MemberID: e.MemberID, Generation: -1})
		return
	}
	if e.MemberID == "" {
		g.joinNew(e, now)
		return
	}
	if _, ok := g.pending[e.MemberID]; ok && e.InstanceID == nil {
		delete(g.pending, e.MemberID)
		g.add(e, e.MemberID, now)
		return
	}
	m, err := g.find(e.MemberID, e.InstanceID)
	if err != nil {
		g.reply(e.Ticket, JoinReply{Err: err, MemberID: e.MemberID, Generation: -1})
		return
	}
	g.rejoin(e, m, now)
}

// admit refuses what can never be a member.
func (g *Group) admit(e Join) error {
	switch {
	case g.State == Dead:
		return ErrUnavailable
	case e.SessionTimeout < g.rules.MinSession || e.SessionTimeout > g.rules.MaxSession:
		return ErrInvalidSessionTimeout
	case e.ProtocolType == "" || len(e.Protocols) == 0:
		return ErrInconsistentProtocol
	case len(g.members) > 0 && e.ProtocolType != g.ProtocolType:
		return ErrInconsistentProtocol
	case !g.shares(e):
		return ErrInconsistentProtocol
	case e.MemberID == "" && !g.knows(e.InstanceID) && len(g.members)+len(g.pending) >= g.rules.MaxMembers:
		return ErrGroupFull
	}
	return nil
}

func (g *Group) knows(instance *string) bool {
	if instance == nil {
		return false
	}
	_, ok := g.static[*instance]
	return ok
}

// shares says whether the other members all support one of the protocols.
func (g *Group) shares(e Join) bool {
	return slices.ContainsFunc(e.Protocols, func(p Protocol) bool {
		for id, m := range g.members {
			same := id == e.MemberID || m.instance != nil && e.InstanceID != nil && *m.instance == *e.InstanceID
			if !same && !m.supports(p.Name) {
				return false
			}
		}
		return true
	})
}

func (g *Group) joinNew(e Join, now time.Time) {
	switch {
	case g.knows(e.InstanceID):
		g.replaceStatic(e, now)
	case e.InstanceID == nil && e.RequireID:
		g.pending[e.NewID] = now.Add(min(e.SessionTimeout, pendingTimeout))
		g.reply(e.Ticket, JoinReply{Err: ErrMemberIDRequired, MemberID: e.NewID, Generation: -1})
	default:
		g.add(e, e.NewID, now)
	}
}

func (g *Group) add(e Join, id string, now time.Time) {
	m := &member{id: id, instance: e.InstanceID}
	m.update(e)
	m.alive(now)
	if len(g.members) == 0 {
		g.ProtocolType, g.Leader = e.ProtocolType, id
	}
	g.members[id] = m
	if m.instance != nil {
		g.static[*m.instance] = id
	}
	g.grew = true
	g.rebalance(now)
}

// update takes over what the member says about itself, and its ticket; an older ticket was a request whose client gave up on it.
func (m *member) update(e Join) {
	m.clientID, m.host = e.ClientID, e.ClientHost
	m.session, m.rebalance = e.SessionTimeout, e.RebalanceTimeout
	if m.rebalance <= 0 {
		m.rebalance = m.session // version 0 has no rebalance timeout
	}
	m.protocols, m.join = e.Protocols, e.Ticket
}

func (g *Group) rejoin(e Join, m *member, now time.Time) {
	same := slices.EqualFunc(m.protocols, e.Protocols, func(a, b Protocol) bool { return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata) })
	// The same again: the member did not hear the generation that it is in.
	if same && (g.State == CompletingRebalance || g.State == Stable && m.id != g.Leader) {
		m.alive(now)
		g.reply(e.Ticket, g.joined(m))
		return
	}
	g.reply(m.join, JoinReply{Err: ErrRebalanceInProgress, MemberID: m.id, Generation: -1})
	m.update(e)
	m.alive(now)
	g.rebalance(now)
}

// replaceStatic gives the place of a static member to its new incarnation. If nothing else changed the group goes on undisturbed (KIP-345): that is what
// instance ids are for.
func (g *Group) replaceStatic(e Join, now time.Time) {
	old := g.members[g.static[*e.InstanceID]]
	g.reply(old.join, JoinReply{Err: ErrFencedInstance, MemberID: old.id, Generation: -1})
	g.reply(old.sync, SyncReply{Err: ErrFencedInstance})
	delete(g.members, old.id)
	m := *old
	m.id, m.sync = e.NewID, 0
	unchanged := bytes.Equal(old.metadata(g.Protocol), (&member{protocols: e.Protocols}).metadata(g.Protocol))
	m.update(e)
	m.alive(now)
	g.members[m.id], g.static[*m.instance] = &m, m.id
	leader := g.Leader
	if leader == old.id {
		g.Leader = m.id
	}
	if g.State != Stable || !unchanged {
		g.rebalance(now)
		return
	}
	m.join = 0
	// The reply names the leader as it was, so that a returning leader does not assign anew to members that do not rejoin.
	r := g.joined(&m)
	r.Leader, r.Members = leader, nil
	g.append([]Record{g.record(now, nil)}, Appended{assigned: &assigned{generation: -1}})
	g.reply(e.Ticket, r)
}

// joined tells a member of the present generation.
func (g *Group) joined(m *member) JoinReply {
	r := JoinReply{Generation: g.Generation, ProtocolType: g.ProtocolType, Protocol: g.Protocol, Leader: g.Leader, MemberID: m.id}
	if m.id == g.Leader {
		for _, o := range g.ordered() {
			r.Members = append(r.Members, JoinMember{ID: o.id, InstanceID: o.instance, Metadata: o.metadata(g.Protocol)})
		}
	}
	return r
}
