package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

// memory is a partition of the internal topic. Appends are acknowledged at once unless hold is set.
type memory struct {
	mu struct {
		sync.Mutex
		batches   []record.Batch
		epoch     int32
		hold      chan struct{} // closed: acknowledged
		appendErr error
		unsettled chan struct{} // closed: settled
	}
}

func (m *memory) Open(_, epoch int32) (Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.epoch = epoch
	return memoryLog{m, epoch}, nil
}

func (m *memory) set(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

func (m *memory) end() int64 {
	if n := len(m.mu.batches); n > 0 {
		return m.mu.batches[n-1].LastOffset() + 1
	}
	return 0
}

type memoryLog struct {
	*memory
	epoch int32
}

func (l memoryLog) Settled(ctx context.Context) (int64, int64, error) {
	l.mu.Lock()
	wait := l.mu.unsettled
	l.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.end(), nil
}

func (l memoryLog) Read(from int64, _ int) (storage.Chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.mu.batches {
		if b.LastOffset() >= from {
			return storage.Chunk{Bytes: b, Next: b.LastOffset() + 1}, nil
		}
	}
	return storage.Chunk{Next: from}, nil
}

func (l memoryLog) Leads() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.epoch != l.epoch {
		return fmt.Errorf("epoch %d: %w", l.mu.epoch, ErrNotCoordinator)
	}
	return nil
}

func (l memoryLog) Append(b []byte) (Pending, error) {
	if err := l.Leads(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.appendErr != nil {
		return nil, l.mu.appendErr
	}
	batch := record.Batch(append([]byte(nil), b...))
	batch.Patch(l.end(), l.epoch)
	l.mu.batches = append(l.mu.batches, batch)
	return held{l.mu.hold}, nil
}

type held struct{ acknowledged chan struct{} }

func (h held) Wait(ctx context.Context) error {
	if h.acknowledged == nil {
		return nil
	}
	select {
	case <-h.acknowledged:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// offsetsView is a cluster with an offsets topic of one partition.
func offsetsView() *cluster.Current {
	v := cluster.Empty()
	v.Seq = 1
	for _, name := range []string{Topic, "t"} {
		v.Topics[name] = &cluster.Topic{Name: name, Partitions: make([]cluster.Partition, 1)}
	}
	c := cluster.NewCurrent()
	c.Set(v)
	return c
}

// managed runs fn with a manager over store, in a bubble where time passes when everybody waits.
func managed(t *testing.T, store *memory, fn func(t *testing.T, m *Manager)) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := NewManager(Config{Current: offsetsView(), Store: store, Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		fn(t, m)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
}

var offsetsPartition = TopicPartition{Topic: Topic, Partition: 0}

func lead(m *Manager, epoch int32) {
	m.Leadership(offsetsPartition, true, epoch)
	synctest.Wait()
}

func step(t *testing.T, m *Manager, e Requested) (any, error) {
	t.Helper()
	wait, err := m.Step(t.Context(), "g", e)
	if err != nil {
		return nil, err
	}
	return wait(t.Context())
}

func commitOf(offset int64) Commit {
	return Commit{Generation: -1, Offsets: []Offset{{TopicPartition: TopicPartition{Topic: "t"}, Offset: offset, LeaderEpoch: -1}}}
}

// committedAt is the offset that the coordinator tells, -1 for none.
func committedAt(t *testing.T, m *Manager) int64 {
	t.Helper()
	at := int64(-1)
	err := m.Query(t.Context(), "g", func(g *Group) {
		if g != nil {
			if c, ok := g.Committed(TopicPartition{Topic: "t"}); ok {
				at = c.Offset
			}
		}
	})
	if err != nil {
		t.Fatalf("Query() = %v", err)
	}
	return at
}

func mustCommit(t *testing.T, m *Manager, offset int64) {
	t.Helper()
	r, err := step(t, m, commitOf(offset))
	if err != nil || r.(CommitReply).Errs[0] != nil {
		t.Fatalf("commit %d = %v, %v, want success", offset, r, err)
	}
}

func TestManagerTakesOverAndGivesUp(t *testing.T) {
	managed(t, &memory{}, func(t *testing.T, m *Manager) {
		if _, err := step(t, m, commitOf(1)); !errors.Is(err, ErrNotCoordinator) {
			t.Errorf("commit before leadership = %v, want %v", err, ErrNotCoordinator)
		}
		m.Leadership(TopicPartition{Topic: "other", Partition: 0}, true, 1)
		lead(m, 1)
		mustCommit(t, m, 7)
		m.Leadership(offsetsPartition, false, 2)
		if _, err := step(t, m, commitOf(8)); !errors.Is(err, ErrNotCoordinator) {
			t.Errorf("commit after leadership = %v, want %v", err, ErrNotCoordinator)
		}
		lead(m, 3)
		if got := committedAt(t, m); got != 7 {
			t.Errorf("committed offset after the return = %d, want 7", got)
		}
	})
}

func TestManagerWhileLoading(t *testing.T) {
	store := &memory{}
	managed(t, store, func(t *testing.T, m *Manager) {
		settled := make(chan struct{}) // made in the bubble: only then is waiting for it known to be waiting
		store.set(func() { store.mu.unsettled = settled })
		lead(m, 1)
		if _, err := step(t, m, commitOf(1)); !errors.Is(err, ErrLoading) {
			t.Errorf("commit while loading = %v, want %v", err, ErrLoading)
		}
		if err := m.Each(t.Context(), func(*Group) {}); !errors.Is(err, ErrLoading) {
			t.Errorf("Each() while loading = %v, want %v", err, ErrLoading)
		}
		close(settled)
		synctest.Wait()
		mustCommit(t, m, 1)
	})
}

// KAFKA-20634: the replicas have the record, but the leadership under which the request was taken is over.
func TestNothingIsAcknowledgedAfterLeadership(t *testing.T) {
	store := &memory{}
	managed(t, store, func(t *testing.T, m *Manager) {
		acknowledged := make(chan struct{})
		store.set(func() { store.mu.hold = acknowledged })
		lead(m, 1)
		wait, err := m.Step(t.Context(), "g", commitOf(5))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.set(func() { store.mu.epoch = 2 }) // the shard was not told yet
		close(acknowledged)
		r, err := wait(t.Context())
		if err == nil {
			err = r.(CommitReply).Errs[0]
		}
		if !errors.Is(err, ErrNotCoordinator) {
			t.Errorf("commit across a change of leader = %v, want %v", err, ErrNotCoordinator)
		}
		if got := committedAt(t, m); got != -1 {
			t.Errorf("committed offset = %d, want none", got)
		}
	})
}

func TestWaitersAreSentAway(t *testing.T) {
	store := &memory{}
	managed(t, store, func(t *testing.T, m *Manager) {
		store.set(func() { store.mu.hold = make(chan struct{}) })
		lead(m, 1)
		wait, err := m.Step(t.Context(), "g", commitOf(5))
		if err != nil {
			t.Fatal(err)
		}
		m.Leadership(offsetsPartition, false, 2)
		if _, err := wait(t.Context()); !errors.Is(err, ErrNotCoordinator) {
			t.Errorf("commit under way when leadership ends = %v, want %v", err, ErrNotCoordinator)
		}
	})
}

func TestAppendTrouble(t *testing.T) {
	store := &memory{}
	managed(t, store, func(t *testing.T, m *Manager) {
		lead(m, 1)
		store.set(func() { store.mu.appendErr = errors.New("too few replicas") })
		r, err := step(t, m, commitOf(5))
		if err != nil || !errors.Is(r.(CommitReply).Errs[0], ErrUnavailable) {
			t.Errorf("commit = %v, %v, want %v", r, err, ErrUnavailable)
		}
		store.set(func() { store.mu.appendErr = nil })
		mustCommit(t, m, 6)
	})
}

func TestCommitsAreAppliedInOrder(t *testing.T) {
	store := &memory{}
	managed(t, store, func(t *testing.T, m *Manager) {
		acknowledged := make(chan struct{})
		store.set(func() { store.mu.hold = acknowledged })
		lead(m, 1)
		var waits []Wait
		for i := range int64(50) {
			wait, err := m.Step(t.Context(), "g", commitOf(i))
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, wait)
		}
		close(acknowledged)
		for i, wait := range waits {
			if r, err := wait(t.Context()); err != nil || r.(CommitReply).Errs[0] != nil {
				t.Fatalf("commit %d = %v, %v", i, r, err)
			}
		}
		if got := committedAt(t, m); got != 49 {
			t.Errorf("committed offset = %d, want 49", got)
		}
	})
}

func TestSessionExpires(t *testing.T) {
	managed(t, &memory{}, func(t *testing.T, m *Manager) {
		lead(m, 1)
		join := Join{NewID: "a", SessionTimeout: 6 * time.Second, RebalanceTimeout: time.Minute, ProtocolType: "consumer", Protocols: []Protocol{{Name: "range"}}}
		r, err := step(t, m, join)
		if err != nil || r.(JoinReply).Err != nil {
			t.Fatalf("join = %+v, %v", r, err)
		}
		if r, err := step(t, m, Sync{MemberID: "a", Generation: 1, Assignments: map[string][]byte{"a": []byte("x")}}); err != nil || string(r.(SyncReply).Assignment) != "x" {
			t.Fatalf("sync = %+v, %v", r, err)
		}
		alive := func() error {
			r, err := step(t, m, Heartbeat{MemberID: "a", Generation: 1})
			if err != nil {
				t.Fatal(err)
			}
			return r.(Answer).Err
		}
		time.Sleep(5 * time.Second) // the bubble's clock
		if err := alive(); err != nil {
			t.Errorf("heartbeat within the session = %v, want nil", err)
		}
		time.Sleep(7 * time.Second)
		if err := alive(); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("heartbeat after the session = %v, want %v", err, ErrUnknownMember)
		}
	})
}

func TestDeletedTopicsAreForgotten(t *testing.T) {
	managed(t, &memory{}, func(t *testing.T, m *Manager) {
		lead(m, 1)
		mustCommit(t, m, 7)
		v := *m.cfg.Current.View()
		v.Seq++
		v.Topics = map[string]*cluster.Topic{Topic: v.Topics[Topic]}
		m.cfg.Current.Set(&v)
		synctest.Wait()
		if got := committedAt(t, m); got != -1 {
			t.Errorf("committed offset after the topic's deletion = %d, want none", got)
		}
		m.Leadership(offsetsPartition, false, 2)
		lead(m, 3)
		if got := committedAt(t, m); got != -1 {
			t.Errorf("committed offset as the next coordinator has it = %d, want none", got)
		}
	})
}

func TestLoadSkipsWhatItCannotRead(t *testing.T) {
	store := &memory{}
	l, _ := store.Open(0, 1)
	for _, r := range []Record{
		{Key: []byte("nonsense"), Value: []byte("x")},
		offsetRecord("g", Offset{TopicPartition: TopicPartition{Topic: "t"}, Offset: 3, LeaderEpoch: -1}, time.Now()),
		{Key: groupKey("h"), Value: []byte{0, 1}},
	} {
		if _, err := l.Append(batch([]Record{r}, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	managed(t, store, func(t *testing.T, m *Manager) {
		lead(m, 2)
		if got := committedAt(t, m); got != 3 {
			t.Errorf("committed offset = %d, want 3", got)
		}
	})
}
