package chain

import (
	"fmt"
	"testing"

	"github.com/regency-project/regency/coordination"
)

func TestFoldedIsNoLargerThanTheState(t *testing.T) {
	f := folded{last: map[string][]byte{}}
	for i := range uint64(10000) {
		f.add([]head{{seq: i + 1, mutations: []coordination.Mutation{
			{Key: fmt.Sprint(i % 9), Value: make([]byte, i)}, {Key: "gone", Value: []byte{}}, {Key: "none"},
		}}, {seq: i + 2, mutations: []coordination.Mutation{{Key: "gone"}, {Key: "none", Value: []byte{}}}}})
	}
	if len(f.last) != 11 || f.to.seq != 10001 {
		t.Errorf("%d keys up to %d, want 11 up to 10001", len(f.last), f.to.seq)
	}
	records := map[string][]byte{"gone": {1}, "kept": {2}, "0": {3}}
	f.replay(records)
	if v, ok := records["none"]; len(records) != 11 || records["gone"] != nil || len(records["0"]) != 9999 || !ok || v == nil {
		t.Errorf("%d records with 0 of %d bytes after the replay, want 11 and 9999", len(records), len(records["0"]))
	}
}
