package partition

import (
	"context"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
)

type logKey struct {
	topicID   [16]byte
	partition int32
}

// origin tells what is known of a log that no hosted partition has.
type origin struct {
	topic     string
	inherited bool // it was on disk when this process began
}

func inherited(logs Logs) map[logKey]origin {
	strays := map[logKey]origin{}
	for _, l := range logs.Logs() {
		strays[logKey{l.TopicID, l.Partition}] = origin{topic: l.Topic, inherited: true}
	}
	return strays
}

// collectStrays queues the deletion of logs whose topic's deletion is committed.
func (s *Set) collectStrays(v *cluster.View) {
	if len(s.applying.strays) == 0 || v.ClusterID == "" {
		return
	}
	keys := v.Keys()
	slices.Sort(keys)
	for key, o := range s.applying.strays {
		if !deleted(v, keys, key.topicID, o.topic) || (o.inherited && (v.ClusterID != s.cfg.ClusterID || v.Seq < s.cfg.MinSeq)) {
			continue
		}
		delete(s.applying.strays, key)
		s.mu.Lock()
		s.mu.deleting[key] = o.topic
		s.mu.Unlock()
	}
	select {
	case s.remove <- struct{}{}:
	default:
	}
}

// deleted says that a topic is gone for good. A topic that merely cannot be seen is not: while it grows, or while its deletion goes on, some of its chunks may
// be missing, but never the first.
func deleted(v *cluster.View, sortedKeys []string, id [16]byte, name string) bool {
	if _, ok := v.TopicNames[id]; ok {
		return false
	}
	if v.Topics[name] != nil { // another one of that name
		return true
	}
	_, first := slices.BinarySearch(sortedKeys, "topic/"+name+"/0")
	return !first
}

func (s *Set) runDeleter(ctx context.Context) error {
	for {
		select {
		case <-s.remove:
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		batch := s.mu.deleting
		s.mu.deleting = map[logKey]string{}
		s.mu.Unlock()
		for key, topic := range batch {
			if err := s.cfg.Logs.DeleteLog(key.topicID, key.partition); err != nil {
				// It stays a stray on disk: the next process finds it, and deletes it.
				s.cfg.Log.Error("delete log", "topic", topic, "partition", key.partition, "err", err)
				continue
			}
			s.cfg.Log.Info("log deleted", "topic", topic, "partition", key.partition)
		}
	}
}
