package replication_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/broker/replication"
	"github.com/regency-project/regency/broker/server"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
	"golang.org/x/sync/errgroup"
)

// deadline is for conditions on a loaded machine.
const deadline = 60 * time.Second

// world is a controller with brokers that replicate over loopback.
type world struct {
	t  *testing.T
	mu struct {
		sync.Mutex
		view    *cluster.View
		present map[int32]coordination.Registered
	}
	brokers map[int32]*broker
}

type broker struct {
	w       *world
	id      int32
	fs      *vfs.MemFS
	starts  int
	store   *storage.Store
	current *cluster.Current
	set     *partition.Set
	pool    *peer.Pool
	stop    context.CancelFunc
	group   *errgroup.Group
}

func start(t *testing.T, n int, partitions int) *world {
	w := &world{t: t, brokers: map[int32]*broker{}}
	v, err := cluster.Empty().Apply(coordination.Event{Kind: coordination.Snapshot, Lineage: "c", Seq: 1, Epoch: 1, Holder: 1})
	w.must(err)
	w.mu.view, w.mu.present = v, map[int32]coordination.Registered{}
	var ids []int32
	for id := int32(1); id <= int32(n); id++ {
		w.brokers[id] = &broker{w: w, id: id, fs: vfs.NewCrashableMem()}
		w.brokers[id].start()
		ids = append(ids, id)
	}
	var assignment [][]int32
	for i := range partitions {
		assignment = append(assignment, append(append([]int32{}, ids[i%n:]...), ids[:i%n]...))
	}
	_, err = w.step(controller.CreateTopic{Name: "t", ID: [16]byte{1}, Partitions: -1, ReplicationFactor: -1, Assignment: assignment, MaxPartitions: 100})
	w.must(err)
	t.Cleanup(func() {
		for _, b := range w.brokers {
			b.end()
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// step decides, commits and publishes.
func (w *world) step(e controller.Event) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if _, ok := e.(controller.RegistrationsChanged); ok {
			var rs []coordination.Registered
			for _, r := range w.mu.present {
				rs = append(rs, r)
			}
			e = controller.RegistrationsChanged{Present: rs}
		}
		r := controller.Step(w.mu.view, e)
		if r.Err != nil {
			return nil, r.Err
		}
		if len(r.Mutations) > 0 {
			v, err := w.mu.view.Apply(coordination.Event{Kind: coordination.Delta, Seq: w.mu.view.Seq + 1, Epoch: 1, Holder: 1, Mutations: r.Mutations})
			if err != nil {
				return nil, err
			}
			w.mu.view = v
		}
		if !r.Again {
			for _, b := range w.brokers {
				if b.current != nil {
					b.current.Set(w.mu.view)
				}
			}
			return r.Reply, nil
		}
	}
}

func (w *world) AlterPartition(_ context.Context, e controller.AlterPartition) (controller.AlterPartitionReply, error) {
	r, err := w.step(e)
	if err != nil {
		return controller.AlterPartitionReply{}, err
	}
	return r.(controller.AlterPartitionReply), nil
}

func (b *broker) start() {
	w := b.w
	store, err := storage.Open(storage.Options{Dir: "d", FS: b.fs, BootID: "b", MemoryBudget: storage.MinMemoryBudget})
	w.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	log := slog.New(slog.DiscardHandler)
	b.store = store
	b.set = partition.NewSet(partition.Config{Logs: partition.Storage(store), Control: w, Log: log, ClusterID: "c"})
	b.pool = peer.NewPool(peer.Config{SourceAddress: "127.0.0.1"})
	b.starts++
	port := int32(ln.Addr().(*net.TCPAddr).Port)
	a := cluster.Attributes{Client: cluster.Endpoint{Host: "127.0.0.1", Port: port}, Peer: cluster.Endpoint{Host: "127.0.0.1", Port: port}}
	w.mu.Lock()
	b.current = cluster.NewCurrent()
	inc := fmt.Sprintf("%d-%d", b.id, b.starts)
	w.mu.present[b.id] = coordination.Registered{Registration: coordination.Registration{ID: b.id, DirectoryUUID: store.DirectoryUUID(), Incarnation: inc, Attributes: a.Encode()}}
	w.mu.Unlock()
	for range 2 { // fence the old incarnation, then admit the new
		_, err = w.step(controller.RegistrationsChanged{})
		w.must(err)
	}
	handlers := &api.Broker{ID: b.id, Current: b.current, Partitions: b.set, Log: log}
	srv := server.New(server.Config{Kind: api.Peer, Keys: handlers.Keys(), Log: log, Grace: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.group = cancel, &errgroup.Group{}
	b.group.Go(func() error { return srv.Serve(ctx, ln) })
	b.group.Go(func() error { return b.set.Run(ctx) })
	b.group.Go(func() error {
		// A long poll longer than any test's patience: what counts must not wait for its end.
		return replication.New(replication.Config{Set: b.set, Peers: b.pool, Log: log, MaxWait: 2 * deadline}).Run(ctx)
	})
	b.group.Go(func() error {
		for {
			v, newer := b.current.Next()
			self := partition.Self{ID: b.id, Epoch: -1}
			if br, ok := v.Brokers[b.id]; ok && br.Incarnation == inc {
				self.Epoch, self.Leading = br.Epoch, true
			}
			b.set.Apply(v, self)
			select {
			case <-newer:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// end stops the broker's process.
func (b *broker) end() {
	if b.stop == nil {
		return
	}
	b.stop()
	if err := b.group.Wait(); err != nil {
		b.w.t.Errorf("broker %d: %v", b.id, err)
	}
	b.pool.Close()
	if err := b.store.Close(); err != nil {
		b.w.t.Errorf("close store %d: %v", b.id, err)
	}
	b.stop = nil
}

// kill ends it as kill -9 of the machine, and tells the controller.
func (b *broker) kill() {
	fs := b.fs.CrashClone(vfs.CrashCloneCfg{})
	b.end()
	b.fs = fs
	b.w.mu.Lock()
	delete(b.w.mu.present, b.id)
	b.w.mu.Unlock()
	_, err := b.w.step(controller.RegistrationsChanged{})
	b.w.must(err)
}

// eventually waits for a condition.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for over := time.Now().Add(deadline); time.Now().Before(over); <-tick.C {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not within %v: %s", deadline, what)
}

func (w *world) view() *cluster.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.view
}

// produce appends record id to partition p, retrying as a producer does, and returns its offset once acknowledged.
func (w *world) produce(p int32, id int) int64 {
	w.t.Helper()
	tp := cluster.TopicPartition{Topic: "t", Partition: p}
	b := record.Build(record.Options{ProducerID: int64(p) + 1, BaseSequence: int32(id)}, record.Record{Timestamp: 1, Value: binary.BigEndian.AppendUint64(nil, uint64(id))})
	offset := int64(-1)
	w.eventually(fmt.Sprintf("record %d of %v is acknowledged", id, tp), func() bool {
		st, _ := w.view().Partition(tp)
		leader := w.brokers[st.Leader]
		if leader == nil {
			return false
		}
		part, ok := leader.set.Get(tp)
		if !ok {
			return false
		}
		d, err := part.Append(b, partition.AppendOptions{Acks: partition.AcksAll, FromClient: true, ExpectedEpoch: -1})
		if err != nil {
			if !errors.Is(err, partition.ErrNotLeader) && !errors.Is(err, partition.ErrNotEnoughReplicas) {
				w.t.Fatalf("append %d: %v", id, err)
			}
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Wait(ctx); err != nil {
			return false
		}
		offset = d.BaseOffset
		return true
	})
	return offset
}

// logs reads partition p of a broker straight from its store.
func (b *broker) log(p int32) string {
	l, err := b.store.Log("t", [16]byte{1}, p)
	b.w.must(err)
	out := ""
	for from := l.Start(); from < l.End(); {
		c, err := l.Read(from, 1<<20, l.End())
		b.w.must(err)
		for r, err := range record.Batches(c.Bytes, record.CheckReplica) {
			b.w.must(err)
			out += fmt.Sprintf("%d:%d:%d ", r.BaseOffset(), r.LeaderEpoch(), r.BaseSequence())
		}
		from = c.Next
	}
	return out
}

func TestReplicatesAndSurvivesItsLeaders(t *testing.T) {
	const partitions = 4
	w := start(t, 3, partitions)
	next := 0
	produce := func(n int) {
		for range n {
			for p := range int32(partitions) {
				if got := w.produce(p, next); got != int64(next) {
					t.Fatalf("record %d of partition %d is at %d", next, p, got)
				}
			}
			next++
		}
	}
	produce(20)
	for _, victim := range []int32{1, 2, 3, 1} {
		w.brokers[victim].kill()
		produce(5)
		w.brokers[victim].start()
		w.eventually("the ISR is whole", func() bool {
			for _, st := range w.view().Topics["t"].Partitions {
				if len(st.ISR) != 3 {
					return false
				}
			}
			return true
		})
		produce(5)
	}
	for p := range int32(partitions) {
		w.eventually("the logs agree", func() bool {
			one := w.brokers[1].log(p)
			return one != "" && one == w.brokers[2].log(p) && one == w.brokers[3].log(p)
		})
	}
	if next != 60 {
		t.Fatalf("%d records, want 60", next)
	}
}

// A follower that joins a fetch loop under way must not wait for the loop's long poll.
func TestNewPartitionInterruptsTheLongPoll(t *testing.T) {
	w := start(t, 2, 2)
	w.produce(0, 0)
	w.produce(1, 0)
	_, err := w.step(controller.CreateTopic{Name: "u", ID: [16]byte{2}, Partitions: -1, ReplicationFactor: -1, Assignment: [][]int32{{1, 2}}, MaxPartitions: 9})
	w.must(err)
	tp := cluster.TopicPartition{Topic: "u"}
	w.eventually("the new partition is fetched", func() bool {
		p, ok := w.brokers[1].set.Get(tp)
		if !ok {
			return false
		}
		d, err := p.Append(record.Build(record.NoProducer, record.Record{Value: []byte("v")}), partition.AppendOptions{Acks: partition.AcksAll, ExpectedEpoch: -1})
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return d.Wait(ctx) == nil
	})
}
