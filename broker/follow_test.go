package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/membership"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/regency-project/regency/storage"
)

// In a quiet cluster no other view comes: a log that could not be made has to be tried again without one.
func TestApplyTriesAgainWithoutANewView(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	store, err := storage.Open(storage.Options{Dir: "d", FS: vfs.NewMem(), BootID: "b", MemoryBudget: storage.MinMemoryBudget})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	coordinator := memory.NewServer(time.Minute).Open(log)
	defer coordinator.Close()
	n := &node{cfg: Config{ID: 1}, current: cluster.NewCurrent(), store: store, log: log}
	n.member, err = membership.New(membership.Config{
		ID: 1, DataDir: t.TempDir(), DirectoryUUID: store.DirectoryUUID(), Coordinator: coordinator, Log: log,
		Healthy: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	n.partitions = partition.NewSet(partition.Config{Logs: partition.Storage(store), Log: log, Remember: func(uint64) error {
		if calls.Add(1) == 1 {
			return errors.New("disk full")
		}
		return nil
	}})
	v := *cluster.Empty()
	v.Seq = 1
	v.Topics = map[string]*cluster.Topic{"t": {ID: [16]byte{1}, Partitions: []cluster.Partition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: cluster.NoLeader}}}}
	n.current.Set(&v)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.apply(ctx) }()
	defer func() { cancel(); <-done }()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, ok := n.partitions.Get(cluster.TopicPartition{Topic: "t"}); ok {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no log after %d tries in %v", calls.Load(), patience)
		}
	}
	if got := calls.Load(); got != 2 {
		t.Errorf("tried %d times, want 2", got)
	}
}
