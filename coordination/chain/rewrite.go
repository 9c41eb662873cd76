package chain

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// Rewrite returns the key of the chain record and the operations that make st the head of an existing chain, as a claim without mutations would have
// left it. It is for tests alone, which make with it what takes years (the last epoch) or an accident (a store that was set back): no process of a cluster
// calls it, and the name says what it does. Who applies it goes around every fence; processes that have seen a later commit refuse the store from then on.
func Rewrite(st coordination.Status) (key string, ops []backend.Op, err error) {
	lineage, err := uuid.Parse(st.Lineage)
	if err != nil {
		return "", nil, fmt.Errorf("rewrite the chain: lineage %q: %w", st.Lineage, err)
	}
	if st.Epoch < 0 {
		return "", nil, fmt.Errorf("rewrite the chain: epoch %d: want 0 or more", st.Epoch)
	}
	h := head{lineage: lineage, epoch: st.Epoch, seq: st.Seq, holder: st.Holder, request: uuid.New(), inline: true}
	return chainKey, []backend.Op{
		{Kind: backend.Set, Key: chainKey, Value: h.encode()},
		{Kind: backend.Set, Key: slotKey(st.Seq), Value: h.encode()},
	}, nil
}
