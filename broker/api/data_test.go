package api_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dataBroker is broker 1 with topic "t": partition 0 is its own, 1 is led by broker 2, and 2 has a follower that never fetches.
type dataBroker struct {
	t    *testing.T
	b    *api.Broker
	set  *partition.Set
	view *cluster.View
	keys []api.Key
}

// dataControl is a controller that does nothing but hand out producer ids.
type dataControl struct {
	api.Controller
	next   int64
	blocks atomic.Int32
	err    error
}

func (c *dataControl) AllocateProducerIDs(context.Context) (int64, int32, error) {
	c.blocks.Add(1)
	c.next += 2
	return c.next - 2, 2, c.err
}

func (*dataControl) AlterPartition(context.Context, controller.AlterPartition) (controller.AlterPartitionReply, error) {
	return controller.AlterPartitionReply{}, controller.ErrStaleBrokerEpoch
}

func startData(t *testing.T) (*dataBroker, *dataControl) {
	store, err := storage.Open(storage.Options{Dir: "d", FS: vfs.NewMem(), MemoryBudget: storage.MinMemoryBudget})
	if err != nil {
		t.Fatal(err)
	}
	ctl := &dataControl{}
	d := &dataBroker{t: t, set: partition.NewSet(partition.Config{Logs: partition.Storage(store), Control: ctl})}
	records := map[string][]byte{}
	put := func(ms ...coordination.Mutation) {
		for _, m := range ms {
			records[m.Key] = m.Value
		}
	}
	for id := int32(1); id <= 2; id++ {
		put(cluster.PutBroker(cluster.Broker{ID: id, Epoch: int64(id), Client: cluster.Endpoint{Host: "h", Port: 9000 + id}}))
	}
	put(cluster.PutTopic(&cluster.Topic{Name: "t", ID: [16]byte{1}, Partitions: []cluster.Partition{
		{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 3},
		{Replicas: []int32{2, 1}, ISR: []int32{2, 1}, Leader: 2, LeaderEpoch: 3},
		{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, LeaderEpoch: 3},
	}})...)
	v, err := cluster.Empty().Apply(coordination.Event{Kind: coordination.Snapshot, Lineage: "c", Seq: 5, Records: records})
	if err != nil {
		t.Fatal(err)
	}
	d.view = v
	current := cluster.NewCurrent()
	current.Set(v)
	d.set.Apply(v, partition.Self{ID: 1, Epoch: 1, Leading: true})
	d.b = &api.Broker{ID: 1, Current: current, Control: ctl, Partitions: d.set, Log: slog.New(slog.DiscardHandler)}
	d.keys = d.b.Keys()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.set.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	})
	return d, ctl
}

// handle takes up a request as its listener would.
func (d *dataBroker) handle(kind api.ListenerKind, req kmsg.Request) (api.Await, error) {
	d.t.Helper()
	for _, k := range d.keys {
		if k.Num == req.Key() && (!k.PeerOnly || kind == api.Peer) {
			return k.Handle(context.Background(), api.Caller{Listener: kind}, req)
		}
	}
	d.t.Fatalf("key %d is not served", req.Key())
	return nil, nil
}

func ask[R kmsg.Response](d *dataBroker, kind api.ListenerKind, req kmsg.Request) R {
	d.t.Helper()
	await, err := d.handle(kind, req)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := await(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.(R)
}

func (d *dataBroker) produceRequest(version, acks int16, part int32, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(version)
	r.Acks, r.TimeoutMillis = acks, 60_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = part, batch
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = "t", []kmsg.ProduceRequestTopicPartition{p}
	r.Topics = []kmsg.ProduceRequestTopic{t}
	return r
}

func (d *dataBroker) produce(version, acks int16, part int32, batch []byte) kmsg.ProduceResponseTopicPartition {
	d.t.Helper()
	return ask[*kmsg.ProduceResponse](d, api.Client, d.produceRequest(version, acks, part, batch)).Topics[0].Partitions[0]
}

func (d *dataBroker) fetchRequest(version int16, part int32, offset int64, wait time.Duration) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(wait.Milliseconds()), 1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = part, offset, 1<<20, -1, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = "t", [16]byte{1}, []kmsg.FetchRequestTopicPartition{p}
	r.Topics = []kmsg.FetchRequestTopic{t}
	return r
}

func (d *dataBroker) wantCode(got int16, want *kerr.Error) {
	d.t.Helper()
	if got != want.Code {
		d.t.Errorf("code = %v, want %v", kerr.ErrorForCode(got), want)
	}
}

func oneRecord(value string) []byte {
	return record.Build(record.NoProducer, record.Record{Timestamp: 1000, Value: []byte(value)})
}

func TestProduceAnswers(t *testing.T) {
	d, _ := startData(t)
	for i := range int64(3) {
		if p := d.produce(9, -1, 0, oneRecord("v")); p.ErrorCode != 0 || p.BaseOffset != i || p.LogStartOffset != 0 {
			t.Fatalf("produce = %+v, want offset %d", p, i)
		}
	}
	damaged := oneRecord("v")
	damaged[len(damaged)-1] ^= 1
	d.wantCode(d.produce(9, -1, 0, damaged).ErrorCode, kerr.CorruptMessage)
	d.wantCode(d.produce(9, -1, 9, oneRecord("v")).ErrorCode, kerr.UnknownTopicOrPartition)
	d.wantCode(d.produce(9, 2, 0, oneRecord("v")).ErrorCode, kerr.InvalidRequiredAcks)
	txn := d.produceRequest(9, -1, 0, oneRecord("v"))
	txn.TransactionID = kmsg.StringPtr("x")
	d.wantCode(ask[*kmsg.ProduceResponse](d, api.Client, txn).Topics[0].Partitions[0].ErrorCode, kerr.InvalidRecord)

	slow := d.produceRequest(9, -1, 2, oneRecord("v"))
	slow.TimeoutMillis = 1
	d.wantCode(ask[*kmsg.ProduceResponse](d, api.Client, slow).Topics[0].Partitions[0].ErrorCode, kerr.RequestTimedOut)
}

func TestProduceSaysWhoLeadsFromVersion10(t *testing.T) {
	d, _ := startData(t)
	for version, want := range map[int16]int32{9: -1, 10: 2} {
		resp := ask[*kmsg.ProduceResponse](d, api.Client, d.produceRequest(version, -1, 1, oneRecord("v")))
		p := resp.Topics[0].Partitions[0]
		d.wantCode(p.ErrorCode, kerr.NotLeaderForPartition)
		if p.CurrentLeader.LeaderID != want || (len(resp.Brokers) == 1) != (want == 2) {
			t.Errorf("version %d: leader %+v, brokers %+v, want leader %d", version, p.CurrentLeader, resp.Brokers, want)
		}
	}
}

func TestProduceWithoutAcks(t *testing.T) {
	d, _ := startData(t)
	await, err := d.handle(api.Client, d.produceRequest(9, 0, 0, oneRecord("v")))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := await(context.Background()); resp != nil || err != nil {
		t.Errorf("acks=0 = %v, %v, want nothing", resp, err)
	}
	if _, err := d.handle(api.Client, d.produceRequest(9, 0, 1, oneRecord("v"))); err == nil {
		t.Errorf("acks=0 to a follower does not close the connection")
	}
}

func TestFetchWaitsForData(t *testing.T) {
	d, _ := startData(t)
	await, err := d.handle(api.Client, d.fetchRequest(12, 0, 0, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *kmsg.FetchResponse, 1)
	go func() {
		resp, err := await(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- resp.(*kmsg.FetchResponse)
	}()
	d.produce(9, -1, 0, oneRecord("v"))
	p := (<-got).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.HighWatermark != 1 || p.LastStableOffset != 1 || len(p.RecordBatches) == 0 {
		t.Errorf("fetch = %+v, want one record below 1", p)
	}

	// What waits ends with its connection.
	await, err = d.handle(api.Client, d.fetchRequest(12, 0, 1, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := await(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
}

func TestFetchAnswers(t *testing.T) {
	d, _ := startData(t)
	for range 3 {
		d.produce(9, -1, 0, oneRecord("v"))
	}
	one := len(oneRecord("v"))
	fetch := func(r *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
		t.Helper()
		return ask[*kmsg.FetchResponse](d, api.Client, r).Topics[0].Partitions[0]
	}
	r := d.fetchRequest(12, 0, 0, 0)
	r.MaxBytes = 1
	if p := fetch(r); len(p.RecordBatches) != one {
		t.Errorf("max bytes 1: %d bytes, want one batch of %d", len(p.RecordBatches), one)
	}
	r = d.fetchRequest(12, 0, 0, 0)
	r.Topics[0].Partitions[0].PartitionMaxBytes = int32(2 * one)
	if p := fetch(r); len(p.RecordBatches) != 2*one {
		t.Errorf("partition max bytes: %d bytes, want %d", len(p.RecordBatches), 2*one)
	}
	if p := fetch(d.fetchRequest(12, 0, 3, 0)); p.ErrorCode != 0 || p.RecordBatches == nil || len(p.RecordBatches) != 0 {
		t.Errorf("at the end: code %d, %v, want empty records", p.ErrorCode, p.RecordBatches)
	}
	d.wantCode(fetch(d.fetchRequest(12, 0, 4, time.Hour)).ErrorCode, kerr.OffsetOutOfRange)
	d.wantCode(fetch(d.fetchRequest(12, 1, 0, time.Hour)).ErrorCode, kerr.NotLeaderForPartition)
	d.wantCode(fetch(d.fetchRequest(12, 8, 0, time.Hour)).ErrorCode, kerr.UnknownTopicOrPartition)
	r = d.fetchRequest(12, 0, 0, time.Hour)
	r.Topics[0].Partitions[0].CurrentLeaderEpoch = 2
	d.wantCode(fetch(r).ErrorCode, kerr.FencedLeaderEpoch)
	r.Topics[0].Partitions[0].CurrentLeaderEpoch = 4
	d.wantCode(fetch(r).ErrorCode, kerr.UnknownLeaderEpoch)
	r = d.fetchRequest(12, 0, 3, time.Hour)
	r.Topics[0].Partitions[0].LastFetchedEpoch = 2
	if p := fetch(r); p.ErrorCode != 0 || p.DivergingEpoch.Epoch != 2 || p.DivergingEpoch.EndOffset != 0 {
		t.Errorf("diverging: %+v", p)
	}
	r = d.fetchRequest(12, 0, 0, 0)
	r.SessionID = 7
	d.wantCode(ask[*kmsg.FetchResponse](d, api.Client, r).ErrorCode, kerr.FetchSessionIDNotFound)
}

func TestFetchAsReplica(t *testing.T) {
	d, _ := startData(t)
	slow := d.produceRequest(9, -1, 2, oneRecord("v"))
	await, err := d.handle(api.Client, slow)
	if err != nil {
		t.Fatal(err)
	}
	replica := func(version int16, epoch, offset int64) *kmsg.FetchRequest {
		r := d.fetchRequest(version, 2, offset, 0)
		r.ReplicaID, r.ReplicaState.ID, r.ReplicaState.Epoch = 2, 2, epoch
		r.Topics[0].Partitions[0].CurrentLeaderEpoch = 3
		return r
	}
	if _, err := d.handle(api.Client, replica(12, 2, 0)); err == nil {
		t.Errorf("a client fetched as a replica")
	}
	stale := ask[*kmsg.FetchResponse](d, api.Peer, replica(16, 1, 0)).Topics[0].Partitions[0]
	d.wantCode(stale.ErrorCode, kerr.StaleBrokerEpoch)
	p := ask[*kmsg.FetchResponse](d, api.Peer, replica(16, 2, 0)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || len(p.RecordBatches) == 0 || p.HighWatermark != 0 {
		t.Fatalf("replica fetch = %+v, want what is not committed yet", p)
	}
	other := replica(16, 2, 0)
	other.Topics[0].TopicID = [16]byte{9}
	d.wantCode(ask[*kmsg.FetchResponse](d, api.Peer, other).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
	if _, err := d.handle(api.Peer, replica(16, 2, 1)); err != nil { // it is on the follower's disk; this alone commits it
		t.Fatal(err)
	}
	resp, err := await(context.Background())
	if err != nil || resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("produce = %+v, %v, want success", resp, err)
	}
}

func TestListOffsetsAnswers(t *testing.T) {
	d, _ := startData(t)
	d.produce(9, -1, 0, oneRecord("v"))
	list := func(version int16, part int32, ts int64) kmsg.ListOffsetsResponseTopicPartition {
		t.Helper()
		r := kmsg.NewPtrListOffsetsRequest()
		r.SetVersion(version)
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = part, ts
		tp := kmsg.NewListOffsetsRequestTopic()
		tp.Topic, tp.Partitions = "t", []kmsg.ListOffsetsRequestTopicPartition{p}
		r.Topics = []kmsg.ListOffsetsRequestTopic{tp}
		return ask[*kmsg.ListOffsetsResponse](d, api.Client, r).Topics[0].Partitions[0]
	}
	for ts, want := range map[int64]int64{-1: 1, -2: 0, 0: 0, 1000: 0, 1001: -1} {
		if p := list(6, 0, ts); p.ErrorCode != 0 || p.Offset != want {
			t.Errorf("offset for %d = %+v, want %d", ts, p, want)
		}
	}
	d.wantCode(list(6, 0, -3).ErrorCode, kerr.UnsupportedVersion)
	d.wantCode(list(6, 1, -1).ErrorCode, kerr.NotLeaderForPartition)
}

func TestOffsetForLeaderEpochAnswers(t *testing.T) {
	d, _ := startData(t)
	d.produce(9, -1, 0, oneRecord("v"))
	for epoch, want := range map[int32]int64{3: 1, 2: 0, 4: -1} {
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		r.SetVersion(4)
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.LeaderEpoch, p.CurrentLeaderEpoch = epoch, 3
		tp := kmsg.NewOffsetForLeaderEpochRequestTopic()
		tp.Topic, tp.Partitions = "t", []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{tp}
		got := ask[*kmsg.OffsetForLeaderEpochResponse](d, api.Client, r).Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.EndOffset != want {
			t.Errorf("end of epoch %d = %+v, want %d", epoch, got, want)
		}
	}
}

func TestProducerIDs(t *testing.T) {
	d, ctl := startData(t)
	r := kmsg.NewPtrInitProducerIDRequest()
	r.SetVersion(4)
	for want := range int64(5) {
		if resp := ask[*kmsg.InitProducerIDResponse](d, api.Client, r); resp.ErrorCode != 0 || resp.ProducerID != want || resp.ProducerEpoch != 0 {
			t.Errorf("producer id = %+v, want %d", resp, want)
		}
	}
	if n := ctl.blocks.Load(); n != 3 {
		t.Errorf("%d blocks for 5 ids, want 3", n)
	}
	ctl.err = errors.New("no controller")
	ask[*kmsg.InitProducerIDResponse](d, api.Client, r) // the last of its block
	d.wantCode(ask[*kmsg.InitProducerIDResponse](d, api.Client, r).ErrorCode, kerr.CoordinatorLoadInProgress)
	r.TransactionalID = kmsg.StringPtr("x")
	d.wantCode(ask[*kmsg.InitProducerIDResponse](d, api.Client, r).ErrorCode, kerr.UnsupportedVersion)
}
