package partition

import (
	"context"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
)

// queued is how many logs the broker is about to delete.
func (s *Set) queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.deleting)
}

func TestDeletedTopicLosesItsLog(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	n := w.nodes[1]
	d := n.append(1)
	if _, err := w.step(controller.DeleteTopic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	n.deliver()
	w.want(d, ErrNotLeader.Error())
	if _, ok := n.set.Get(tp0); ok {
		t.Fatalf("the partition is still there")
	}
	n.flush()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.set.runDeleter(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(time.Minute); len(n.store.Logs()) > 0; <-tick.C {
		if time.Now().After(over) {
			t.Fatalf("the log is still there")
		}
	}
	cancel()
	w.must(<-ended)
}

// A broker that starts and is shown a state without its topics deletes nothing, unless that state is of its cluster and not older than what it has seen.
func TestLogsOutliveStatesThatProveNothing(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	n := w.nodes[1]
	view := func(lineage string, seq uint64) *cluster.View {
		v, err := cluster.Empty().Apply(coordination.Event{Kind: coordination.Snapshot, Lineage: lineage, Seq: seq})
		w.must(err)
		return v
	}
	for _, c := range []struct {
		name    string
		cluster string
		view    *cluster.View
		want    int
	}{
		{"nothing known yet", "c", cluster.Empty(), 0},
		{"older state", "c", view("c", 9), 0},
		{"another cluster", "c", view("x", 11), 0},
		{"fresh data directory", "", view("c", 11), 0},
		{"newer state", "c", view("c", 10), 1},
	} {
		s := NewSet(Config{Logs: Storage(n.store), Control: w, ClusterID: c.cluster, MinSeq: 10})
		s.Apply(c.view, Self{ID: 1, Epoch: -1})
		if got := s.queued(); got != c.want {
			t.Errorf("%s: %d logs to delete, want %d", c.name, got, c.want)
		}
	}
}

// While a topic grows over several commits some of its chunks are missing and it cannot be seen.
func TestInvisibleTopicKeepsItsLogs(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	n := w.nodes[1]
	grown := *w.view.Topics[topic]
	for len(grown.Partitions) <= cluster.ChunkSize {
		grown.Partitions = append(grown.Partitions, cluster.Partition{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	}
	for i, m := range cluster.PutTopic(&grown) {
		v, err := w.view.Apply(coordination.Event{Kind: coordination.Delta, Seq: w.view.Seq + 1, Mutations: []coordination.Mutation{m}})
		w.must(err)
		w.view = v
		n.deliver()
		if got := n.set.queued(); got != 0 {
			t.Fatalf("after commit %d: %d logs to delete", i, got)
		}
		if _, ok := n.set.Get(tp0); ok != (i == 1) {
			t.Fatalf("after commit %d: partition 0 is there: %v", i, ok)
		}
	}
	if _, err := w.step(controller.DeleteTopic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	n.deliver()
	if got := n.set.queued(); got != len(grown.Partitions) {
		t.Fatalf("%d logs to delete, want %d", got, len(grown.Partitions))
	}
}
