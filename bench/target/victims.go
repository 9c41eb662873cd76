package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/bench/fault"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

// HasService tells whether the coordination service has processes of its own; otherwise brokers host its members.
func (l *Local) HasService() bool { return l.ensemble != nil }

// Members is how many members the coordination service has, embedded or not. Member i of the embedded service is in broker i+1.
func (l *Local) Members() int {
	if l.ensemble == nil {
		return len(l.hosts)
	}
	return len(l.ensemble.Members())
}

// MemberName is a member's name in events.
func (l *Local) MemberName(i int) string {
	if l.ensemble == nil {
		return fmt.Sprintf("broker %d", i+1)
	}
	return profile.MemberName(l.o.Backend, i)
}

// LeaderIndex is the member that leads the coordination service.
func (l *Local) LeaderIndex(ctx context.Context) (int, error) {
	if l.ensemble != nil {
		return l.ensemble.Leader(ctx)
	}
	id, err := l.EmbeddedLeader(ctx)
	return int(id) - 1, err
}

// Broker is a broker as the victim of a fault.
func (l *Local) Broker(id int32) fault.Victim {
	return fault.Victim{
		Name: fmt.Sprintf("broker %d", id), Process: l.brokers[id-1].proc(), Addr: l.brokers[id-1].direct,
		Restart: func(context.Context) error { return l.Restart(id) },
		Serves: func(ctx context.Context) error {
			return l.await(ctx, fmt.Sprintf("wait for broker %d", id), func(ctx context.Context) error {
				_, err := l.View(ctx, id)
				return err
			})
		},
	}
}

// Brokers returns all brokers as victims.
func (l *Local) Brokers() []fault.Victim {
	var list []fault.Victim
	for _, b := range l.brokers {
		list = append(list, l.Broker(b.id))
	}
	return list
}

// Member is a member of a service of its own as the victim of a fault. One of several that were killed cannot serve before the others are back: they are started together.
func (l *Local) Member(i int) fault.Victim {
	m := l.ensemble.Members()[i]
	return fault.Victim{
		Name: m.Name, Process: memberProcess{l.ensemble, i}, Addr: m.Endpoint,
		Restart: l.ensemble.StartQuorum, Serves: l.ensemble.WaitReady,
	}
}

// memberProcess is a member's process by way of its ensemble, which must know what is done to it.
type memberProcess struct {
	ensemble *ensemble.Ensemble
	i        int
}

func (p memberProcess) Kill() error { return p.ensemble.KillMember(p.i) }

func (p memberProcess) Stop(context.Context, time.Duration) error {
	return fmt.Errorf("stop a coordination member gracefully: %w", errors.ErrUnsupported)
}

func (p memberProcess) Pause() error { return p.ensemble.PauseMember(p.i) }

func (p memberProcess) WaitPaused(context.Context) error { return nil } // PauseMember has waited

func (p memberProcess) Resume() error { return p.ensemble.ResumeMember(p.i) }

// BrokerLegs are the links of a kind that a broker has.
func (l *Local) BrokerLegs(kind string, id int32) []fault.Leg {
	var legs []fault.Leg
	switch kind {
	case scenario.ClientBroker:
		if w := l.mesh.clients[id]; w != nil {
			legs = append(legs, fault.Leg{Wire: w})
		}
	case scenario.BrokerBroker:
		for _, p := range l.mesh.peers {
			if p.from == id || p.to == id {
				legs = append(legs, fault.Leg{Wire: p.wire, Out: p.from == id})
			}
		}
	case scenario.BrokerCoordination:
		for _, s := range l.mesh.service {
			if s.broker == id || l.ensemble == nil && s.member == int(id)-1 { // its own member is cut off with it
				legs = append(legs, fault.Leg{Wire: s.wire, Out: s.broker == id})
			}
		}
	}
	return legs
}

// MemberLegs are the links of the brokers to a member; all is every member. An embedded member's are those of the broker that hosts it.
func (l *Local) MemberLegs(member int, all bool) []fault.Leg {
	if l.ensemble == nil && !all {
		return l.BrokerLegs(scenario.BrokerCoordination, int32(member+1))
	}
	var legs []fault.Leg
	for _, s := range l.mesh.service {
		if all || s.member == member {
			legs = append(legs, fault.Leg{Wire: s.wire})
		}
	}
	return legs
}
