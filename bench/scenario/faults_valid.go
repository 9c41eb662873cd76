package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	longest     = 10 * time.Minute // of after and for
	longestLate = 10 * time.Second // of delay and jitter
	leastRate   = 1024
)

// validate names what is impossible about the faults of a failover scenario.
func (s Scenario) validateFaults(v *validator) {
	v.check(len(s.Faults) > 0, "faults: a failover scenario needs at least one")
	v.check(len(s.Faults) <= 8, "faults: %d are more than 8", len(s.Faults))
	for i, f := range s.Faults {
		at := fmt.Sprintf("faults[%d].", i)
		actions := []string{Kill, Stop, Pause, Rolling, Cut, Blackhole, Delay, Rate, Starve}
		if !slices.Contains(actions, f.Action) {
			v.check(false, "%saction: %q: choose from %s", at, f.Action, strings.Join(actions, ", "))
			continue
		}
		f.validate(v, at)
		v.check(f.After >= 0 && f.After <= longest, "%safter: %v is not between 0 and %v", at, f.After, longest)
		v.check(f.For >= 0 && f.For <= longest, "%sfor: %v is not between 0 and %v", at, f.For, longest)
		v.check(i > 0 || f.After == 0, "%safter: the first fault is the beginning: it has none", at)
		v.check(f.Action != Rolling || len(s.Faults) == 1, "%saction: rolling stands alone", at)
		for j, other := range s.Faults[:i] {
			v.check(f.Role == "" || f.Role != other.Role || f.OnLink() && other.OnLink(), "%srole: faults[%d] hits %s already", at, j, f.Role)
		}
	}
}

func (f Fault) validate(v *validator, at string) {
	none := func(set bool, key string) { v.check(!set, "%s%s: action %s has none", at, key, f.Action) }
	if !f.OnLink() {
		none(f.Link != "", "link")
		none(f.Direction != "", "direction")
	}
	if f.Action != Delay {
		none(f.Delay != 0, "delay")
		none(f.Jitter != 0, "jitter")
	}
	if f.Action != Rate {
		none(f.Rate != 0, "rate")
	}
	if f.Action != Starve {
		none(f.Burners != 0, "burners")
		none(f.Nice != 0, "nice")
	}
	switch {
	case f.Action == Rolling:
		none(f.Role != "", "role")
		none(f.For != 0, "for")
		none(f.Until != "", "until")
		return
	case f.Action == Starve:
		none(f.Role != "", "role")
		v.check(f.Burners >= 1 && f.Burners <= 64, "%sburners: %d is not between 1 and 64", at, f.Burners)
		v.check(f.Nice >= 0 && f.Nice <= 19, "%snice: %d is not between 0 and 19: less than 0 needs privileges", at, f.Nice)
	case f.OnLink():
		f.validateLink(v, at)
	default:
		f.validateProcess(v, at)
	}
	f.validateEnd(v, at)
}

func (f Fault) validateProcess(v *validator, at string) {
	roles := []string{Controller, Leader, Follower, CoordinationLeader, CoordinationFollower, CoordinationQuorum}
	if f.Action == Stop {
		roles = roles[:3]
	}
	v.check(slices.Contains(roles, f.Role), "%srole: %q: action %s hits one of %s", at, f.Role, f.Action, strings.Join(roles, ", "))
}

func (f Fault) validateLink(v *validator, at string) {
	kinds := []string{BrokerCoordination, BrokerBroker, ClientBroker}
	v.check(slices.Contains(kinds, f.Link), "%slink: %q: choose from %s", at, f.Link, strings.Join(kinds, ", "))
	roles := []string{Controller, Leader, Follower}
	if f.Link == BrokerCoordination {
		roles = append(roles, Coordination, CoordinationLeader, CoordinationFollower)
	}
	v.check(slices.Contains(roles, f.Role), "%srole: %q: link %s is of one of %s", at, f.Role, f.Link, strings.Join(roles, ", "))
	v.check(slices.Contains([]string{"", Both, To, From}, f.Direction), "%sdirection: %q: choose from both, to, from", at, f.Direction)
	switch f.Action {
	case Cut:
		v.check(f.Direction == "" || f.Direction == Both, "%sdirection: %q: a reset ends both directions; for one alone use action blackhole", at, f.Direction)
	case Delay:
		v.check(f.Delay > 0 && f.Delay <= longestLate, "%sdelay: %v is not above 0 and up to %v", at, f.Delay, longestLate)
		v.check(f.Jitter >= 0 && f.Jitter <= longestLate, "%sjitter: %v is not between 0 and %v", at, f.Jitter, longestLate)
	case Rate:
		v.check(f.Rate >= leastRate, "%srate: %d bytes a second are below %d", at, f.Rate, leastRate)
	}
}

// validateEnd: only what others recover from may last until they have.
func (f Fault) validateEnd(v *validator, at string) {
	v.check(f.For == 0 || f.Until == "", "%suntil: the fault has a length already", at)
	replaced := f.Action == Pause && f.Role != CoordinationQuorum || (f.Action == Cut || f.Action == Blackhole) && f.Link == BrokerCoordination && f.Role != Coordination
	switch f.Until {
	case "":
		ends := replaced || (f.Action == Kill || f.Action == Stop) && f.Role != CoordinationQuorum
		v.check(f.For > 0 || ends, "%sfor: nothing recovers while this fault lasts: say how long that is", at)
	case Recovered:
		v.check(replaced, "%suntil: nothing recovers while this fault lasts, or it is not taken back: use for", at)
	case Healed:
		v.check((f.Action == Kill || f.Action == Stop) && f.Role != CoordinationQuorum, "%suntil: healed is for kill and stop", at)
	default:
		v.check(false, "%suntil: %q: choose recovered or healed", at, f.Until)
	}
}
