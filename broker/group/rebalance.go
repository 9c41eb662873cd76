package group

import (
	"slices"
	"time"
)

// rebalance starts a rebalance unless one is collecting members already, and completes it if nobody is missing.
func (g *Group) rebalance(now time.Time) {
	if g.State != PreparingRebalance {
		g.prepare(now)
	}
	g.tryComplete(now)
}

func (g *Group) prepare(now time.Time) {
	g.failSync(ErrRebalanceInProgress)
	g.assigning = false
	g.first = g.State == Empty && g.rules.InitialDelay > 0
	g.waitUntil = now.Add(g.longest())
	if g.first {
		g.latest = g.waitUntil
		g.waitUntil = now.Add(min(g.rules.InitialDelay, g.longest()))
		g.grew = false
	}
	g.become(PreparingRebalance, now)
}

// failSync sends away those who wait for an assignment that will not come.
func (g *Group) failSync(err error) {
	for _, m := range g.ordered() {
		g.reply(m.sync, SyncReply{Err: err})
		m.sync = 0
	}
}

// longest is the time that the most patient member grants a rebalance.
func (g *Group) longest() time.Duration {
	var d time.Duration
	for _, m := range g.members {
		d = max(d, m.rebalance)
	}
	return d
}

// tryComplete ends the collecting phase when all members have joined and nobody who was told an id is still to come back.
func (g *Group) tryComplete(now time.Time) {
	if g.State != PreparingRebalance || g.first || len(g.pending) > 0 {
		return
	}
	for _, m := range g.members {
		if m.join == 0 {
			return
		}
	}
	g.complete(now)
}

// expireJoin ends the collecting phase by time.
func (g *Group) expireJoin(now time.Time) {
	if g.first && g.grew && now.Before(g.latest) {
		g.grew = false
		g.waitUntil = now.Add(min(g.rules.InitialDelay, g.latest.Sub(now)))
		return
	}
	g.complete(now)
}

// complete begins the next generation with those who have joined. Static members stay, joined or not, until their session ends.
func (g *Group) complete(now time.Time) {
	g.first = false
	for _, m := range g.ordered() {
		if m.join == 0 && m.instance == nil {
			g.drop(m, ErrUnknownMember)
		}
	}
	if len(g.members) == 0 {
		g.empty(now)
		return
	}
	if !g.electLeader() {
		g.waitUntil = now.Add(g.longest()) // only absent static members: wait on for one to return or to expire
		return
	}
	g.Generation++
	g.Protocol = g.selectProtocol()
	g.become(CompletingRebalance, now)
	g.waitUntil = now.Add(g.longest())
	for _, m := range g.ordered() {
		m.synced = m.join == 0 // absent static members need not sync
		m.alive(now)
		g.reply(m.join, g.joined(m))
		m.join = 0
	}
}

// electLeader keeps a leader that has joined, or chooses the first member that has.
func (g *Group) electLeader() bool {
	if m := g.members[g.Leader]; m != nil && m.join != 0 {
		return true
	}
	for _, m := range g.ordered() {
		if m.join != 0 {
			g.Leader = m.id
			return true
		}
	}
	return false
}

// selectProtocol takes the protocol that all members support and most prefer; the leader's order breaks ties.
func (g *Group) selectProtocol() string {
	votes := map[string]int{}
	common := func(p Protocol) bool {
		for _, m := range g.members {
			if !m.supports(p.Name) {
				return false
			}
		}
		return true
	}
	for _, m := range g.members {
		if i := slices.IndexFunc(m.protocols, common); i >= 0 {
			votes[m.protocols[i].Name]++
		}
	}
	best := ""
	for _, p := range g.members[g.Leader].protocols {
		if common(p) && (best == "" || votes[p.Name] > votes[best]) {
			best = p.Name
		}
	}
	return best
}

// empty ends a rebalance to which nobody came. The generation grows, so that nobody of the last one can commit.
func (g *Group) empty(now time.Time) {
	g.Generation++
	g.Protocol, g.Leader = "", ""
	g.become(Empty, now)
	g.append([]Record{g.record(now, nil)}, Appended{assigned: &assigned{generation: -1}})
}

// drop removes a member and answers what it waits for.
func (g *Group) drop(m *member, err error) {
	g.reply(m.join, JoinReply{Err: err, MemberID: m.id, Generation: -1})
	g.reply(m.sync, SyncReply{Err: err})
	delete(g.members, m.id)
	if m.instance != nil && g.static[*m.instance] == m.id {
		delete(g.static, *m.instance)
	}
	if g.Leader == m.id {
		g.Leader = ""
		for _, o := range g.ordered() {
			g.Leader = o.id
			break
		}
	}
}

// afterLoss rebalances when members were removed.
func (g *Group) afterLoss(now time.Time) {
	switch g.State {
	case Stable, CompletingRebalance:
		g.rebalance(now)
	case PreparingRebalance:
		g.tryComplete(now)
	}
}
