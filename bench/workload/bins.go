package workload

import (
	"slices"
	"time"

	"github.com/regency-project/regency/bench/timeline"
)

// BinWidth is the resolution of throughput over time.
const BinWidth = 200 * time.Millisecond

// bins counts operations by time and emits a bin once it has passed. The owner's lock guards it.
type bins struct {
	client string
	emit   func(timeline.LoadBin)
	open   map[int64]*bin // by start; a handful, since old ones are emitted
}

type bin struct {
	offered, errors int
	latencies       []float64 // milliseconds, of what was acknowledged in the bin
}

func (b *bins) at(t int64) *bin {
	start := t - t%int64(BinWidth)
	if b.open[start] == nil {
		b.open[start] = &bin{}
	}
	return b.open[start]
}

// flush emits the bins that ended before t, in their order, those without events included.
func (b *bins) flush(t int64) {
	var starts []int64
	for start := range b.open {
		if start+int64(BinWidth) <= t {
			starts = append(starts, start)
		}
	}
	slices.Sort(starts)
	for _, start := range starts {
		x := b.open[start]
		delete(b.open, start)
		out := timeline.LoadBin{Client: b.client, From: start, Width: int64(BinWidth), Offered: x.offered, Acked: len(x.latencies), Errors: x.errors}
		if len(x.latencies) > 0 {
			slices.Sort(x.latencies)
			out.P50 = x.latencies[len(x.latencies)/2]
			out.Max = x.latencies[len(x.latencies)-1]
		}
		b.emit(out)
	}
}
