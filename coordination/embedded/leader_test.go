package embedded_test

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/embedded"
)

// TestLeadersAreTold: every member tells which broker's member leads, at first and after the leader's end.
func TestLeadersAreTold(t *testing.T) {
	ctx := testContext(t)
	var mu sync.Mutex
	told := map[int32]int32{} // by each member, the newest leader
	agreed := func(except int32) (leader int32, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		for id, l := range told {
			if id == except {
				continue
			}
			if l == except || leader != 0 && l != leader {
				return 0, false
			}
			leader = l
		}
		return leader, len(told) == 3
	}
	all := configs(t, 3)
	members := make([]coordination.Coordinator, 3)
	var opening errgroup.Group
	for i, cfg := range all {
		cfg.OnLeader = func(leader int32) {
			mu.Lock()
			defer mu.Unlock()
			told[cfg.ID] = leader
		}
		opening.Go(func() (err error) {
			members[i], err = embedded.Open(ctx, cfg, nil)
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		t.Fatal(err)
	}
	await := func(except int32) int32 {
		t.Helper()
		for {
			if leader, ok := agreed(except); ok {
				return leader
			}
			select {
			case <-ctx.Done():
				t.Fatalf("the members told %v", told)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	first := await(0)
	if err := members[first-1].Close(); err != nil {
		t.Error(err)
	}
	if second := await(first); second == first {
		t.Errorf("leader %d after its end", second)
	}
	for i, m := range members {
		if i != int(first-1) {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
