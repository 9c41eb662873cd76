package coordtest

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/regency-project/regency/coordination"
)

func put(key, value string) coordination.Mutation {
	return coordination.Mutation{Key: key, Value: []byte(value)}
}

func remove(key string) coordination.Mutation { return coordination.Mutation{Key: key} }

func testCommits(e *env) {
	co, _, l := e.leader(1)
	seq := e.commit(l, put("topics/a/0", "x"), put("with space, ümlaut and %2F", "y"), put("empty", ""), put("binary", "\x00\xff"))
	if seq != l.Seq()+1 {
		e.Errorf("Commit() = %d, want %d", seq, l.Seq()+1)
	}
	want := map[string]string{"topics/a/0": "x", "with space, ümlaut and %2F": "y", "empty": "", "binary": "\x00\xff"}
	e.wantRecords(co, seq, want)

	seq = e.commit(l, put("topics/a/0", "x2"), remove("empty"), remove("never there"), put("new", "z"))
	delete(want, "empty")
	want["topics/a/0"], want["new"] = "x2", "z"
	e.wantRecords(co, seq, want)

	// An empty commit is a commit; a key may come back after its deletion.
	seq = e.commit(l)
	seq2 := e.commit(l, put("empty", "back"))
	if seq2 != seq+1 {
		e.Errorf("Commit() after %d = %d, want the next", seq, seq2)
	}
	want["empty"] = "back"
	e.wantRecords(co, seq2, want)

	// A successor in another process knows what exists, too.
	e.resign(l)
	_, _, next := e.leader(2)
	seq = e.commit(next, put("topics/a/0", "x3"), remove("new"), put("later", "w"))
	want["topics/a/0"], want["later"] = "x3", "w"
	delete(want, "new")
	e.wantRecords(co, seq, want)
}

func (e *env) wantRecords(co coordination.Coordinator, seq uint64, want map[string]string) {
	e.Helper()
	s := e.snapshot(co)
	got := make(map[string]string, len(s.Records))
	for k, v := range s.Records {
		got[k] = string(v)
	}
	if s.Seq != seq || !maps.Equal(got, want) {
		e.Errorf("snapshot at %d = %q, want at %d %q", s.Seq, got, seq, want)
	}
}

func testTooLarge(e *env) {
	co, _, l := e.leader(1)
	caps := co.Capabilities()
	seq := e.commit(l, put("small", "1"))

	many := make([]coordination.Mutation, caps.MaxCommitMutations+1)
	for i := range many {
		many[i] = put(fmt.Sprintf("many/%05d", i), "v")
	}
	big := []coordination.Mutation{put("big", strings.Repeat("x", caps.MaxCommitBytes+1))}
	for name, m := range map[string][]coordination.Mutation{"mutations": many, "bytes": big} {
		if _, err := l.Commit(e.ctx, m); !errors.Is(err, coordination.ErrTooLarge) {
			e.Errorf("Commit() above the limit of %s = %v, want ErrTooLarge", name, err)
		}
	}
	e.wantRecords(co, seq, map[string]string{"small": "1"})

	// The limits themselves hold, both at once.
	full := many[:caps.MaxCommitMutations]
	size := 0
	for _, m := range full {
		size += len(m.Key) + len(m.Value)
	}
	full[0].Value = []byte(strings.Repeat("\xff", caps.MaxCommitBytes-size+1))
	if got := e.commit(l, full...); got != seq+1 {
		e.Errorf("Commit() at the limits = %d, want %d", got, seq+1)
	}
	if got := e.snapshot(co); len(got.Records) != caps.MaxCommitMutations+1 || len(got.Records[full[0].Key]) != len(full[0].Value) {
		e.Errorf("snapshot has %d records, want %d", len(got.Records), caps.MaxCommitMutations+1)
	}
}
