package storage

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestCompactedSpaceComesBack writes each of 200 keys six times, compacts, and
// measures what is left on disk. Only the age at which half-dead blob files are
// rewritten differs from what runs elsewhere.
func TestCompactedSpaceComesBack(t *testing.T) {
	o := Options{Dir: t.TempDir(), Flush: FlushWritten, MemoryBudget: MinMemoryBudget}
	s, err := openTuned(o.withDefaults(), func(po *pebble.Options) {
		policy := po.Experimental.ValueSeparationPolicy()
		policy.RewriteMinimumAge = 0
		po.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return policy }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 6 {
		for _, key := range rng.Perm(200) {
			value := make([]byte, 50_000)
			for i := range value {
				value[i] = byte(rng.Uint32())
			}
			mustAppend(t, l, 0, keyed(kv(fmt.Sprint(key), string(value))))
		}
	}
	l.SetHighWatermark(l.End())
	before := dataBytes(t, o.Dir)
	stats := mustCompact(t, l, CompactOptions{})
	live := l.Info().Bytes
	if stats.RecordsRemoved != 1000 || live > 11<<20 {
		t.Fatalf("%d records removed, %d bytes left; want 1000, 10 MB", stats.RecordsRemoved, live)
	}
	var left int64
	until(t, "space comes back", func() bool {
		left = dataBytes(t, o.Dir)
		return left*2 <= live*3
	})
	t.Logf("%d bytes on disk, %d after compaction: %.2f of %d live bytes", before, left, float64(left)/float64(live), live)
}
