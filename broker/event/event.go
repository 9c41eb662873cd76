// Package event writes a broker's timeline: one JSON object a line, one write(2) each, so that a line is whole even when the process is killed right after.
// The schema is public (a harness reads it):
//
//	{"t":123456789,"broker":1,"pid":4242,"event":"controller.claimed","epoch":7,...}
//
// t is CLOCK_MONOTONIC in nanoseconds: comparable between the processes of one host. The other fields depend on the event:
//
//	broker.started        version                        process up, before coordination
//	broker.ready          client, peer                   listeners serve
//	broker.stopping       reason
//	session.opened        session, timeout_ms            session.valid / session.suspect / session.lost follow its state
//	registration.gone     id, incarnation                a candidate's watch no longer shows a broker: detection
//	registration.seen     id, incarnation
//	ensemble.leader       leader                         embedded coordination: the broker whose member leads the ensemble, as this broker's member learned
//	peer.suspected        id, incarnation, evidence, silent_ms   this broker has evidence that another is dead: refused, replaced or silent; it last answered
//	                                                     silent_ms ago. peer.answered (id, incarnation) takes it back
//	broker.evicted        id, incarnation, by, evidence  the service took our eviction; by is the detector: peer or guardian. certain is false where its answer
//	                                                     was lost and the registration is gone
//	guardian.started      guardian                       its pid. It writes to this log as well, with its own pid and its broker's id:
//	guardian.ready        session                        it can evict its broker
//	guardian.acted        id, incarnation, took_ms       its broker died and it tried to evict it, which took that long
//	controller.claimed    epoch, seq                     this broker leads the cluster
//	controller.loaded     epoch, seq                     its view has reached its claim
//	controller.lost       epoch, reason
//	controller.committed  epoch, seq, leaders, brokers   a commit that changed leaderships: leaders is the number of partitions that got a new leader,
//	                                                     brokers the ids that it took leadership from
//	view.applied          seq, leaders                   this broker applied a commit that made it leader of some partitions
//	partition.leader      topic, topic_id, partition, epoch, offset   leadership begins here; offset is the log end; the id (hex) tells a topic from a later one
//	                                                     of the same name
//	partition.follower    topic, partition, epoch, leader
//	partition.isr         topic, partition, epoch, isr
//	storage.stall         seconds
package event

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Log appends events to a writer. A nil *Log discards.
type Log struct {
	broker int32
	mu     struct {
		sync.Mutex
		w   io.Writer
		err error
	}
	close func() error
}

// Open appends to the file, making it if needed.
func Open(path string, broker int32) (*Log, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	l := New(f, broker)
	l.close = f.Close
	return l, nil
}

// New writes events to w, one Write call each.
func New(w io.Writer, broker int32) *Log {
	l := &Log{broker: broker}
	l.mu.w = w
	return l
}

// Emit writes one event. args are alternating keys and values, as for slog. It never fails for the caller: the first write error is kept for Close.
func (l *Log) Emit(name string, args ...any) {
	if l == nil {
		return
	}
	line := make([]byte, 0, 160)
	line = fmt.Appendf(line, `{"t":%d,"broker":%d,"pid":%d,"event":%q`, Now(), l.broker, os.Getpid(), name)
	for i := 0; i+1 < len(args); i += 2 {
		v, err := json.Marshal(args[i+1])
		if err != nil {
			v = fmt.Appendf(nil, "%q", fmt.Sprint(args[i+1]))
		}
		line = fmt.Appendf(line, ",%q:%s", fmt.Sprint(args[i]), v)
	}
	line = append(line, "}\n"...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.mu.w.Write(line); err != nil && l.mu.err == nil {
		l.mu.err = err
	}
}

// Close closes the file and returns the first error of any write.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.close != nil {
		if err := l.close(); err != nil && l.mu.err == nil {
			l.mu.err = err
		}
	}
	return l.mu.err
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("clock_gettime(CLOCK_MONOTONIC): %v", err)) // cannot fail on a supported system
	}
	return ts.Nano()
}
