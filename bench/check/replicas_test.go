package check

import (
	"slices"
	"testing"
)

func copyOf(broker int32, inSync bool, hw int64, batches ...Batch) Replica {
	c := Replica{Broker: broker, InSync: inSync, HighWatermark: hw, Batches: batches}
	if n := len(batches); n > 0 {
		c.Start, c.End = batches[0].Base, batches[n-1].Last+1
	}
	return c
}

func batches() []Batch {
	return []Batch{{0, 3, 1, "aa"}, {4, 4, 1, "bb"}, {5, 9, 2, "cc"}}
}

func TestReplicasThatAgreePass(t *testing.T) {
	for name, copies := range map[string][]Replica{
		"equal":                      {copyOf(1, true, 10, batches()...), copyOf(2, true, 10, batches()...)},
		"an old high watermark":      {copyOf(1, true, 5, batches()...), copyOf(2, true, 4, batches()...)},
		"retention at one of them":   {copyOf(1, true, 10, batches()[1:]...), copyOf(2, true, 10, batches()...)},
		"a tail not committed":       {copyOf(1, true, 10, append(batches(), Batch{10, 11, 2, "dd"})...), copyOf(2, true, 10, append(batches(), Batch{10, 10, 3, "ee"})...)},
		"out of sync and short":      {copyOf(1, true, 10, batches()...), copyOf(2, false, 5, batches()[:2]...)},
		"out of sync, another tail":  {copyOf(1, true, 10, batches()...), copyOf(2, false, 4, Batch{0, 3, 1, "aa"}, Batch{4, 9, 1, "xx"})},
		"one copy only":              {copyOf(1, true, 10, batches()...)},
		"in sync, nothing committed": {copyOf(1, true, 0), copyOf(2, true, 0)},
	} {
		committed := int64(10)
		if name == "in sync, nothing committed" {
			committed = 0
		}
		if _, found := Replicas(part, committed, copies); len(found) != 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	if n, _ := Replicas(part, 10, []Replica{copyOf(1, true, 10, batches()...), copyOf(2, true, 10, batches()...), copyOf(3, false, 5, batches()...)}); n != 5 {
		t.Errorf("compared %d batches, want 3 and 2", n)
	}
}

func TestReplicasThatDifferAreCaught(t *testing.T) {
	change := func(i int, to Batch) []Batch {
		list := batches()
		list[i] = to
		return list
	}
	for name, c := range map[string]struct {
		other Replica
		want  string
	}{
		"other bytes":                    {copyOf(2, true, 10, change(1, Batch{4, 4, 1, "xx"})...), ReplicasDiffer},
		"another epoch":                  {copyOf(2, true, 10, change(1, Batch{4, 4, 2, "bb"})...), ReplicasDiffer},
		"cut otherwise":                  {copyOf(2, true, 10, Batch{0, 4, 1, "aa"}, batches()[2]), ReplicasDiffer},
		"a hole":                         {copyOf(2, true, 10, batches()[0], batches()[2]), ReplicasDiffer},
		"out of sync, below its own":     {copyOf(2, false, 10, change(2, Batch{5, 9, 2, "xx"})...), ReplicasDiffer},
		"in sync and short":              {copyOf(2, true, 5, batches()[:2]...), ReplicaShort},
		"in sync and empty":              {copyOf(2, true, 0), ReplicaShort},
		"in sync, its own mark is older": {copyOf(2, true, 1, change(2, Batch{5, 9, 2, "xx"})...), ReplicasDiffer},
	} {
		_, found := Replicas(part, 10, []Replica{copyOf(1, true, 10, batches()...), c.other})
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Check == c.want }) {
			t.Errorf("%s: found %v, want %s", name, found, c.want)
		}
	}
}
