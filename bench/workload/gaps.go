package workload

// gaps knows, for each partition, the longest time between two acknowledgements since the last reset. The owner's lock guards it.
type gaps struct {
	parts []gap
}

type gap struct {
	last     int64 // newest acknowledgement, or the reset
	from, to int64 // the longest
}

func newGaps(partitions int32, now int64) *gaps {
	g := &gaps{parts: make([]gap, partitions)}
	g.reset(now)
	return g
}

func (g *gaps) reset(now int64) {
	for i := range g.parts {
		g.parts[i] = gap{last: now}
	}
}

func (g *gaps) acked(partition int32, now int64) {
	p := &g.parts[partition]
	p.widen(now)
	p.last = now
}

func (p *gap) widen(now int64) {
	if now-p.last > p.to-p.from {
		p.from, p.to = p.last, now
	}
}

// longest returns each partition's longest gap, one that is still open included.
func (g *gaps) longest(now int64) []gap {
	list := make([]gap, len(g.parts))
	for i, p := range g.parts {
		p.widen(now)
		list[i] = p
	}
	return list
}
