package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic = "bench"
	// window is how many records may be unacknowledged: kgo's default, and as much for NATS.
	window     = 10000
	startLimit = 60 * time.Second
)

// producer is a client of the servers.
type producer interface {
	// send sends a record of 1 KB; acknowledged is called later, from any goroutine. It blocks while the window is full.
	send(ctx context.Context, value []byte, acknowledged func(error))
	close()
}

// produceLoad sends as fast as the window allows: acks=all, idempotent, linger 5 ms, no compression; NATS by asynchronous publishing.
type produceLoad struct{ Warm, For time.Duration }

func (l produceLoad) measure(ctx context.Context, srv *servers) (sample, error) {
	p, err := connect(ctx, srv, 5*time.Millisecond)
	if err != nil {
		return nil, srv.explain(err)
	}
	defer p.close()
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	var t tally
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		values := payloads()
		for i := 0; sending.Err() == nil; i++ {
			p.send(sending, values[i%len(values)], func(err error) {
				if sending.Err() == nil {
					t.add(recordBytes, err)
				}
			})
		}
	}()
	s, err := l.watch(ctx, srv, &t)
	cancel()
	<-stopped
	return s, srv.explain(err)
}

func (l produceLoad) watch(ctx context.Context, srv *servers, t *tally) (sample, error) {
	if err := pause(ctx, l.Warm); err != nil {
		return nil, err
	}
	before, err1 := srv.usage()
	n0, err2 := t.sum()
	began := time.Now()
	if err := errors.Join(err1, err2, pause(ctx, l.For)); err != nil {
		return nil, err
	}
	took := time.Since(began)
	n, err1 := t.sum()
	after, err2 := srv.usage()
	memory, err3 := srv.highWater()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if n == n0 {
		return nil, fmt.Errorf("nothing was acknowledged in %v", took)
	}
	s := sample{mbps: float64(n-n0) / took.Seconds() / 1e6, highWater: memory}
	s.use(after.since(before), n-n0)
	return s, nil
}

// latencyLoad sends 100 records a second, without lingering, one at a time.
type latencyLoad struct{ For time.Duration }

func (l latencyLoad) measure(ctx context.Context, srv *servers) (sample, error) {
	p, err := connect(ctx, srv, 0)
	if err != nil {
		return nil, srv.explain(err)
	}
	defer p.close()
	const warm = 50
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var took []time.Duration
	values := payloads()
	for i := 0; i < warm+int(l.For/(10*time.Millisecond)); i++ {
		done, began := make(chan error, 1), time.Now()
		p.send(ctx, values[i%len(values)], func(err error) { done <- err })
		select {
		case err = <-done:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, srv.explain(err)
		}
		if i >= warm {
			took = append(took, time.Since(began))
		}
		<-tick.C
	}
	s := sample{}
	s.latencies(took)
	return s, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// payloads are random, so that nothing could be won by compressing them.
func payloads() [][]byte {
	rng := rand.New(rand.NewPCG(3, 4))
	values := make([][]byte, 64)
	for i := range values {
		values[i] = make([]byte, recordBytes)
		for k := range values[i] {
			values[i][k] = byte(rng.Uint32())
		}
	}
	return values
}

func connect(ctx context.Context, srv *servers, linger time.Duration) (producer, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if srv.kafka == nil {
		return connectNATS(ctx, srv)
	}
	return connectKafka(ctx, srv, linger)
}

type kafkaProducer struct{ cl *kgo.Client }

func connectKafka(ctx context.Context, srv *servers, linger time.Duration) (producer, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(srv.kafka...), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(linger),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(window), kgo.MetadataMinAge(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	if err := makeTopic(ctx, cl, srv.copies); err != nil {
		cl.Close()
		return nil, err
	}
	return kafkaProducer{cl}, nil
}

// makeTopic waits for the brokers, and for each partition to have its leader and replicas.
func makeTopic(ctx context.Context, cl *kgo.Client, copies int) error {
	adm := kadm.NewClient(cl)
	for {
		trying, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := adm.CreateTopic(trying, topicPartitions, int16(copies), nil, topic)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			if err = settledTopic(trying, adm, copies); err == nil {
				cancel()
				return nil
			}
		}
		cancel()
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("make a topic within %v: %w", startLimit, err)
		}
	}
}

func settledTopic(ctx context.Context, adm *kadm.Client, copies int) error {
	ts, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	if n := len(ts[topic].Partitions); n != topicPartitions {
		return fmt.Errorf("topic has %d partitions", n)
	}
	for _, p := range ts[topic].Partitions {
		if p.Err != nil || p.Leader < 0 || len(p.ISR) < copies {
			return fmt.Errorf("partition %d: leader %d, in sync %v, %w", p.Partition, p.Leader, p.ISR, p.Err)
		}
	}
	return nil
}

func (p kafkaProducer) send(ctx context.Context, value []byte, acknowledged func(error)) {
	p.cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { acknowledged(err) })
}

func (p kafkaProducer) close() { p.cl.Close() }

// natsProducer has a stream per partition, with a connection each to the server that leads it, as Kafka's clients have to leaders.
type natsProducer struct {
	streams []jetstream.JetStream
	next    int
	window  chan struct{}
}

func subject(i int) string { return fmt.Sprintf("%s.%d", topic, i) }

func connectNATS(ctx context.Context, srv *servers) (producer, error) {
	p := &natsProducer{window: make(chan struct{}, window)}
	for i := range topicPartitions {
		js, err := connectStream(ctx, srv, i)
		if err != nil {
			p.close()
			return nil, err
		}
		p.streams = append(p.streams, js)
	}
	return p, nil
}

func connectStream(ctx context.Context, srv *servers, i int) (jetstream.JetStream, error) {
	var first string
	for _, url := range srv.nats {
		first = url
	}
	setup, err := dialNATS(first)
	if err != nil {
		return nil, err
	}
	defer setup.Conn().Close()
	c := jetstream.StreamConfig{Name: fmt.Sprintf("%s-%d", topic, i), Subjects: []string{subject(i)}, Replicas: srv.copies, Storage: jetstream.FileStorage}
	for {
		trying, cancel := context.WithTimeout(ctx, 5*time.Second)
		st, err := setup.CreateOrUpdateStream(trying, c)
		cancel()
		if err == nil {
			leader := first
			if info := st.CachedInfo(); info.Cluster != nil && info.Cluster.Leader != "" && srv.copies > 1 {
				leader = srv.nats[info.Cluster.Leader]
			}
			return dialNATS(leader)
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return nil, fmt.Errorf("make a stream: %w", err)
		}
	}
}

func dialNATS(url string) (jetstream.JetStream, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(window))
}

func (p *natsProducer) send(ctx context.Context, value []byte, acknowledged func(error)) {
	select {
	case p.window <- struct{}{}:
	case <-ctx.Done():
		return
	}
	i := p.next % len(p.streams)
	p.next++
	f, err := p.streams[i].PublishAsync(subject(i), value)
	if err != nil {
		<-p.window
		acknowledged(err)
		return
	}
	go func() { // as many as the window has
		defer func() { <-p.window }()
		select {
		case <-f.Ok():
			acknowledged(nil)
		case err := <-f.Err():
			acknowledged(err)
		case <-ctx.Done():
		}
	}()
}

func (p *natsProducer) close() {
	for _, js := range p.streams {
		js.Conn().Close()
	}
}
