package group

// Description is what an administrator sees of a group.
type Description struct {
	State                  State
	ProtocolType, Protocol string
	Members                []MemberDescription
}

// MemberDescription is what an administrator sees of a member.
type MemberDescription struct {
	ID                   string
	InstanceID           *string
	ClientID, ClientHost string
	Metadata, Assignment []byte
}

// Describe describes the group; nil is a group that does not exist, which Kafka calls Dead. While a rebalance is under way there is no protocol, and what the
// members tell and get is of no meaning to others.
func (g *Group) Describe() Description {
	if g == nil {
		return Description{State: Dead}
	}
	d := Description{State: g.State, ProtocolType: g.ProtocolType}
	if g.State == Stable {
		d.Protocol = g.Protocol
	}
	for _, m := range g.ordered() {
		md := MemberDescription{ID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.host}
		if g.State == Stable {
			md.Metadata, md.Assignment = m.metadata(g.Protocol), m.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d
}
