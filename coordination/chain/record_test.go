package chain

import (
	"reflect"
	"testing"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"pgregory.net/rapid"
)

func TestHeadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := head{
			lineage: uuid.New(), epoch: rapid.Int32().Draw(t, "epoch"), seq: rapid.Uint64().Draw(t, "seq"),
			holder: rapid.Int32().Draw(t, "holder"), request: uuid.New(), inline: true,
		}
		for range rapid.IntRange(0, 5).Draw(t, "mutations") {
			m := coordination.Mutation{Key: rapid.String().Draw(t, "key")}
			if rapid.Bool().Draw(t, "set") {
				m.Value = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "value")...)
			}
			h.mutations = append(h.mutations, m)
		}
		got, err := parseHead(h.encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, h) {
			t.Fatalf("parseHead(encode(%+v)) = %+v", h, got)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add((&head{inline: true, mutations: []coordination.Mutation{{Key: "k", Value: []byte("v")}, {Key: "gone"}}}).encode())
	f.Add([]byte{headFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b) // must not panic, nor allocate beyond what b holds
		if err == nil && h.inline {
			if _, err := parseHead(h.encode()); err != nil {
				t.Fatalf("re-encoded: %v", err)
			}
		}
	})
}
