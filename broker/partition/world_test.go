package partition

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

const topic = "t"

var tp0 = cluster.TopicPartition{Topic: topic}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is a cluster in one goroutine: views, fetches and flushes happen when a test says so.
type world struct {
	t       fataler
	now     time.Time
	view    *cluster.View // as committed
	present []coordination.Registered
	nodes   map[int32]*node
	// refuse, when set, is what AlterPartition answers; applied says whether it was committed nevertheless.
	refuse  error
	applied bool
	// maxBytes bounds what a fetch brings.
	maxBytes int
}

// node is one broker. Its Set has no Run: flushes are by hand.
type node struct {
	w     *world
	id    int32
	epoch int64
	inc   int
	fs    *vfs.MemFS
	store *storage.Store
	set   *Set
	queue []unflushed
	lost  bool             // its session
	kept  map[int64]string // for the model: what is on its disk
}

func newWorld(t fataler, brokers, rf int, configs map[string]string) *world {
	t.Helper()
	w := &world{t: t, maxBytes: 1 << 20, now: time.Unix(1_700_000_000, 0), view: cluster.Empty(), nodes: map[int32]*node{}}
	v, err := w.view.Apply(coordination.Event{Kind: coordination.Snapshot, Lineage: "c", Seq: 1, Epoch: 1, Holder: 1})
	w.must(err)
	w.view = v
	for id := int32(1); id <= int32(brokers); id++ {
		n := &node{w: w, id: id, fs: vfs.NewCrashableMem()}
		w.nodes[id] = n
		n.open()
	}
	var assignment []int32
	for id := int32(1); id <= int32(rf); id++ {
		assignment = append(assignment, id)
	}
	w.create(topic, assignment, configs)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("unexpected error: %v", err)
	}
}

func (w *world) create(name string, replicas []int32, configs map[string]string) {
	w.t.Helper()
	e := controller.CreateTopic{Name: name, ID: [16]byte{byte(len(w.view.Topics) + 1), byte(w.view.Seq)}, Partitions: -1, ReplicationFactor: -1, Assignment: [][]int32{replicas}, Configs: configs, MaxPartitions: 100}
	_, err := w.step(e)
	w.must(err)
	w.deliverAll()
}

// step decides on e and commits it.
func (w *world) step(e controller.Event) (any, error) {
	for {
		r := controller.Step(w.view, e)
		if r.Err != nil {
			return nil, r.Err
		}
		if len(r.Mutations) > 0 {
			v, err := w.view.Apply(coordination.Event{Kind: coordination.Delta, Seq: w.view.Seq + 1, Epoch: 1, Holder: 1, Mutations: r.Mutations})
			w.must(err)
			w.view = v
		}
		if !r.Again {
			return r.Reply, nil
		}
	}
}

func (w *world) registrations() {
	_, err := w.step(controller.RegistrationsChanged{Present: w.present})
	w.must(err)
}

func (w *world) leave(id int32) {
	for i, r := range w.present {
		if r.ID == id {
			w.present = append(w.present[:i:i], w.present[i+1:]...)
			break
		}
	}
	w.registrations()
}

// AlterPartition makes the world its nodes' controller.
func (w *world) AlterPartition(_ context.Context, e controller.AlterPartition) (controller.AlterPartitionReply, error) {
	if w.refuse != nil && !w.applied {
		return controller.AlterPartitionReply{}, w.refuse
	}
	r, err := w.step(e)
	if w.refuse != nil {
		return controller.AlterPartitionReply{}, w.refuse
	}
	if err != nil {
		return controller.AlterPartitionReply{}, err
	}
	return r.(controller.AlterPartitionReply), nil
}

// open starts the broker's process on its file system, and registers it.
func (n *node) open() {
	n.w.t.Helper()
	store, err := storage.Open(storage.Options{Dir: "d", FS: n.fs, BootID: "b", MemoryBudget: storage.MinMemoryBudget})
	n.w.must(err)
	n.store = store
	n.set = NewSet(Config{Logs: Storage(store), Control: n.w, ReplicaLagMax: 10 * time.Second, Now: func() time.Time { return n.w.now }, ClusterID: "c"})
	n.register()
}

func (n *node) register() {
	n.inc++
	n.w.leave(n.id)
	a := cluster.Attributes{Client: cluster.Endpoint{Host: "h", Port: 1}, Peer: cluster.Endpoint{Host: "h", Port: 2}}
	n.w.present = append(n.w.present, coordination.Registered{Registration: coordination.Registration{
		ID: n.id, DirectoryUUID: n.store.DirectoryUUID(), Incarnation: fmt.Sprintf("%d-%d", n.id, n.inc), Attributes: a.Encode()}})
	n.w.registrations()
	n.epoch, n.lost = n.w.view.Brokers[n.id].Epoch, false
}

// crash ends the process as kill -9 of the machine would: what was not synced is gone.
func (n *node) crash() {
	n.drain()
	for _, u := range n.queue {
		_ = u.durable.Wait() // frees its resources
	}
	n.queue = nil
	fs := n.fs.CrashClone(vfs.CrashCloneCfg{})
	_ = n.store.Close()
	n.fs = fs
	n.set = nil
	n.w.leave(n.id)
}

func (n *node) close() {
	if n.set != nil {
		n.flush()
		_ = n.store.Close()
	}
}

func (w *world) close() {
	for _, n := range w.nodes {
		n.close()
	}
}

func (n *node) deliver() {
	if n.set != nil {
		n.set.Apply(n.w.view, Self{ID: n.id, Epoch: n.epoch, Leading: !n.lost, DirectoryUUID: n.store.DirectoryUUID()})
	}
}

func (w *world) deliverAll() {
	for _, n := range w.nodes {
		n.deliver()
	}
}

// drain moves what was appended from the Set's queue to the node's.
func (n *node) drain() {
	for {
		select {
		case u := <-n.set.unflushed:
			n.queue = append(n.queue, u)
		default:
			return
		}
	}
}

// flush makes everything durable.
func (n *node) flush() {
	n.drain()
	for _, u := range n.queue {
		n.set.wait(u)
	}
	n.queue = nil
}

func (n *node) propose() {
	for n.set.sendProposals(context.Background()) {
		if n.w.refuse != nil {
			return
		}
	}
}

func (n *node) part() *Partition {
	n.w.t.Helper()
	p, ok := n.set.Get(tp0)
	if !ok {
		n.w.t.Fatalf("broker %d has no %v", n.id, tp0)
	}
	return p
}

// fetchReply is a leader's answer on its way.
type fetchReply struct {
	f   Fetched
	err error
}

// ask lets follower n fetch from its leader, as far as the answer.
func (n *node) ask(leader int32) (fetchReply, bool) {
	pos, ok := n.part().Position(leader)
	l := n.w.nodes[leader]
	if !ok || l.set == nil {
		return fetchReply{}, false
	}
	lp, ok := l.set.Get(tp0)
	if !ok {
		return fetchReply{}, false
	}
	r := fetchReply{f: Fetched{Position: pos}}
	r.f.Diverging, r.err = lp.Follow(FollowerFetch{Replica: n.id, BrokerEpoch: n.epoch, CurrentLeaderEpoch: pos.LeaderEpoch, Offset: pos.Offset, LastFetchedEpoch: pos.LastEpoch, LogStart: pos.Start, Now: n.w.now})
	if r.err != nil || r.f.Diverging != nil {
		return r, true
	}
	res, err := lp.Read(context.Background(), ReadOptions{From: pos.Offset, MaxBytes: n.w.maxBytes, CurrentLeaderEpoch: pos.LeaderEpoch, LastFetchedEpoch: pos.LastEpoch, Replica: true})
	r.err = err
	r.f.Batches, r.f.HighWatermark, r.f.LogStart, r.f.Diverging = res.Batches, res.HighWatermark, res.Start, res.Diverging
	return r, true
}

// fetch is ask and applying the answer, without the flush.
func (n *node) fetch(leader int32) error {
	r, ok := n.ask(leader)
	if !ok {
		return errors.New("not asked")
	}
	return n.take(r)
}

func (n *node) take(r fetchReply) error {
	if r.err != nil && !errors.Is(r.err, ErrOffsetOutOfRange) {
		return r.err
	}
	r.f.OutOfRange = r.err != nil
	_, err := n.part().Replicate(r.f)
	return err
}

// sync fetches and flushes until the follower has what the leader has and the leader knows.
func (n *node) sync(leader int32) {
	n.w.t.Helper()
	for range 4 {
		n.w.must(n.fetch(leader))
		n.flush()
	}
}

// batch is one record whose value tells which it is.
func batch(id int) []byte {
	return record.Build(record.NoProducer, record.Record{Timestamp: 1, Value: binary.BigEndian.AppendUint64(nil, uint64(id))})
}

func idempotent(pid int64, epoch int16, seq int32) []byte {
	return record.Build(record.Options{ProducerID: pid, ProducerEpoch: epoch, BaseSequence: seq}, record.Record{Timestamp: 1, Value: []byte("v")})
}

func (n *node) append(id int) *Pending {
	n.w.t.Helper()
	d, err := n.part().Append(batch(id), AppendOptions{Acks: AcksAll, FromClient: true, ExpectedEpoch: -1, Now: n.w.now})
	n.w.must(err)
	return d
}

// outcome is "open" or what Wait would return.
func outcome(d *Pending) string {
	select {
	case err := <-d.w.done:
		d.w.done <- err
		if err == nil {
			return "ok"
		}
		for _, known := range []error{ErrNotLeader, ErrNotEnoughReplicasAfterAppend, ErrStorage, ErrTimedOut} {
			if errors.Is(err, known) {
				return known.Error()
			}
		}
		return err.Error()
	default:
		return "open"
	}
}

func (w *world) want(d *Pending, want string) {
	w.t.Helper()
	if got := outcome(d); got != want {
		w.t.Fatalf("append at %d is %q, want %q", d.BaseOffset, got, want)
	}
}

func (w *world) wantHW(id int32, want int64) {
	w.t.Helper()
	p := w.nodes[id].part()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.hw != want {
		w.t.Fatalf("broker %d: high watermark = %d, want %d", id, p.mu.hw, want)
	}
}

func (w *world) wantErr(err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Fatalf("error = %v, want %v", err, want)
	}
}

// contents is "offset:epoch:id" of each record.
func (n *node) contents() string {
	p := n.part()
	var out []string
	for from := p.log.Start(); from < p.log.End(); {
		c, err := p.log.Read(from, 1<<20, p.log.End())
		n.w.must(err)
		for b, err := range record.Batches(c.Bytes, record.CheckReplica) {
			n.w.must(err)
			id := binary.BigEndian.Uint64(b[len(b)-9:])
			out = append(out, fmt.Sprintf("%d:%d:%d", b.BaseOffset(), b.LeaderEpoch(), id))
		}
		from = c.Next
	}
	return strings.Join(out, " ")
}

func newTestWorld(t *testing.T, brokers, rf int, configs map[string]string) *world {
	w := newWorld(t, brokers, rf, configs)
	t.Cleanup(w.close)
	return w
}
