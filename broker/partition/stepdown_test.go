package partition

import (
	"sync/atomic"
	"testing"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
)

// disk is Logs under another name, for Logs has a method of its own.
type disk = Logs

// stuckLogs has a disk that does not take another log of one topic, until it is let go.
type stuckLogs struct {
	disk
	topic          string
	stuck, release chan struct{}
}

func (l *stuckLogs) Log(topic string, id [16]byte, partition int32) (Log, error) {
	log, err := l.disk.Log(topic, id, partition)
	if topic != l.topic || err != nil {
		return log, err
	}
	return stuckLog{log, l}, nil
}

type stuckLog struct {
	Log
	l *stuckLogs
}

func (l stuckLog) AssignEpoch(epoch int32, start int64) error {
	close(l.l.stuck)
	<-l.l.release
	return l.Log.AssignEpoch(epoch, start)
}

func TestStepDownDoesNotWaitForAnothersDisk(t *testing.T) {
	w := newTestWorld(t, 1, 1, map[string]string{"min.insync.replicas": "1"})
	n := w.nodes[1]
	logs := &stuckLogs{disk: n.set.cfg.Logs, topic: "stuck", stuck: make(chan struct{}), release: make(chan struct{})}
	n.set.cfg.Logs = logs
	var leads atomic.Int32
	n.set.OnLeadership(func(_ cluster.TopicPartition, leading bool, _ int32) {
		if leading {
			leads.Add(1)
		} else {
			leads.Add(-1)
		}
	})
	lost := make(chan struct{})
	self := Self{ID: n.id, Epoch: n.epoch, Leading: true, Lost: lost}
	n.set.Apply(w.view, self)
	if _, err := n.part().Leader(); err != nil {
		t.Fatal(err)
	}
	d := n.append(1)
	// StepDown without a loss ends nothing.
	n.set.StepDown()
	w.want(d, "open")

	_, err := w.step(controller.CreateTopic{Name: "stuck", ID: [16]byte{9}, Partitions: -1, ReplicationFactor: -1, Assignment: [][]int32{{1}}, MaxPartitions: 9})
	w.must(err)
	applied := make(chan bool)
	go func() { applied <- n.set.Apply(w.view, self) }()
	<-logs.stuck
	close(lost)
	n.set.StepDown() // would hang
	_, err = n.part().Leader()
	w.wantErr(err, ErrNotLeader)
	w.want(d, ErrNotLeader.Error())

	close(logs.release)
	if <-applied {
		t.Errorf("a View is applied wholly by a broker that is no leader any more")
	}
	stuck, _ := n.set.Get(cluster.TopicPartition{Topic: "stuck"})
	_, err = stuck.Leader()
	w.wantErr(err, ErrNotLeader) // the leadership had not begun when it was lost
	n.set.Apply(w.view, Self{ID: n.id, Epoch: n.epoch})
	if got := leads.Load(); got != -1 { // the first beginning was before the listener was there
		t.Errorf("the listener was told of %d beginnings more than ends, want -1", got)
	}
}
