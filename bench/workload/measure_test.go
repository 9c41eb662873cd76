package workload

import (
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/timeline"
)

func TestBinsCountByTimeAndKeepTheMaximum(t *testing.T) {
	var got []timeline.LoadBin
	b := &bins{client: "tuned", open: map[int64]*bin{}, emit: func(x timeline.LoadBin) { got = append(got, x) }}
	width := int64(BinWidth)
	b.at(5).offered++
	b.at(width-1).offered++
	b.at(width+1).offered++
	b.at(width+2).errors++
	first := b.at(7)
	first.latencies = append(first.latencies, 5, 900, 1)
	b.flush(width)
	if len(got) != 1 || got[0].Offered != 2 || got[0].Acked != 3 || got[0].P50 != 5 || got[0].Max != 900 {
		t.Fatalf("bins = %+v, want the first one alone", got)
	}
	b.flush(2 * width)
	if len(got) != 2 || got[1].From != width || got[1].Errors != 1 || got[1].Acked != 0 {
		t.Errorf("bins = %+v", got)
	}
}

func TestGapsHoldTheLongestAndTheOpenOne(t *testing.T) {
	g := newGaps(3, 1000)
	g.acked(0, 1100)
	g.acked(0, 1500)
	g.acked(0, 1600)
	g.acked(1, 1100)
	list := g.longest(3000)
	if list[0].from != 1600 || list[0].to != 3000 {
		t.Errorf("partition 0: %+v, want the open gap", list[0])
	}
	g.acked(0, 1700)
	if list = g.longest(1800); list[0].from != 1100 || list[0].to != 1500 {
		t.Errorf("partition 0: %+v, want 1100 to 1500", list[0])
	}
	if list[2].from != 1000 || list[2].to != 1800 {
		t.Errorf("partition 2 was never acknowledged: %+v, want since the reset", list[2])
	}
	g.reset(2000)
	if list = g.longest(2010); list[0].to-list[0].from != 10 {
		t.Errorf("after the reset: %+v", list[0])
	}
}

func TestLatenessCountsWhatALateTimerPassedOver(t *testing.T) {
	every := latenessEvery.Nanoseconds()
	l := newLateness(0)
	l.fired(every)
	l.fired(2*every + 1000)
	if max := l.delay.Max(); l.delay.TotalCount() != 2 || max > 1 {
		t.Fatalf("%d timers, the latest by %d µs; want 2 in time", l.delay.TotalCount(), max)
	}
	l.fired(102 * every) // the harness stood still
	if n := l.delay.TotalCount(); n != 102 {
		t.Errorf("%d timers were due, want 102", n)
	}
	d := l.told("a/1", "saturating")
	if want := float64(99*every) / 1e6; d.Max < want*0.99 || d.P99 < want*0.9 || d.Trial != "a/1" {
		t.Errorf("%+v, want a maximum of %v ms", d, want)
	}
}

func TestHistogramSurvivesTheTimeline(t *testing.T) {
	h := newHistogram()
	record(h, 5_000_000)
	record(h, -1)
	text, err := encode(h)
	if err != nil {
		t.Fatal(err)
	}
	back, err := hdrhistogram.Decode([]byte(text))
	if err != nil || back.TotalCount() != 2 || back.Max() < 4990 || back.Max() > 5010 {
		t.Errorf("decoded %d values, maximum %d, %v; want 2 and 5000 µs", back.TotalCount(), back.Max(), err)
	}
}

func TestProducerRefusesNonsense(t *testing.T) {
	if _, err := NewProducer(Options{Config: Tuned, Rate: 0, Partitions: 1}); err == nil {
		t.Error("rate 0 was taken")
	}
	if _, err := producerOptions(nil, "quick", "load"); err == nil {
		t.Error("an unknown configuration was taken")
	}
}
