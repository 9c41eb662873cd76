package group

import (
	"testing"
	"time"
)

// FuzzReplay feeds records of the internal topic to a new coordinator: whatever a client wrote there must not end the broker.
func FuzzReplay(f *testing.F) {
	now := time.Unix(1, 0)
	g := New("g", Rules{}, now)
	g.Step(now, Join{NewID: "a", SessionTimeout: 6 * time.Second, ProtocolType: "consumer", Protocols: []Protocol{{Name: "range"}}})
	for _, r := range []Record{g.record(now, nil), groupTombstone("g"), offsetRecord("g", Offset{Offset: 1}, now), offsetTombstone("g", TopicPartition{})} {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		groups := map[string]*Group{}
		if err := replay(groups, Record{Key: key, Value: value}, Rules{}, now); err != nil {
			return
		}
		for _, g := range groups {
			g.Step(now.Add(time.Hour), Tick{})
			g.Describe()
		}
	})
}
