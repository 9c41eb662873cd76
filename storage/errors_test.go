package storage

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// faulty is a disk whose calls fail from one index on, or that one only.
type faulty struct {
	calls  atomic.Int64
	at     int64
	sticky bool
	hit    func(errorfs.Op) bool
	err    error
	last   atomic.Pointer[string] // what failed
}

func (f *faulty) MaybeError(op errorfs.Op) error {
	if !f.hit(op) {
		return nil
	}
	n := f.calls.Add(1)
	if n < f.at || (n > f.at && !f.sticky) {
		return nil
	}
	what := fmt.Sprintf("%v %s", op.Kind, op.Path)
	f.last.Store(&what)
	return f.err
}

func (f *faulty) String() string { return "faulty" }

// history is what a run of useDisk was promised.
type history struct {
	acked  [2]int64 // log ends
	start  int64    // of log 1, deleted durably
	opened bool
	uuid   string
}

// useDisk does everything that touches the disk, and goes on after errors. Every
// error must be one, never a panic, and what it returns is only what was promised.
func useDisk(t *testing.T, files vfs.FS) (h history) {
	o := memOptions(files)
	s, err := openTuned(o.withDefaults(), func(po *pebble.Options) { po.MemTableSize = 256 << 10 })
	if err != nil {
		if errors.Is(err, ErrCorrupt) {
			t.Errorf("an error of the disk makes the store look corrupt: %v", err)
		}
		return h
	}
	h.opened, h.uuid = true, s.DirectoryUUID()
	failed := false
	appendTo := func(l *Log, log int) {
		if err := appendOne(l, 30_000, func(end int64) { h.acked[log] = end }); err != nil {
			failed = true
		} else if s.Healthy() != nil && failed {
			t.Error("acknowledged after a failure")
		}
	}
	for i := range int32(2) {
		l, err := s.Log("a", topicA, i)
		if err != nil {
			continue
		}
		for range 12 {
			appendTo(l, int(i))
		}
		l.SetHighWatermark(h.acked[i])
		dropWholeTail(l)
		if i == 1 {
			if start, err := l.DeleteRecords(h.acked[1] / 2); err == nil {
				h.start = start
			}
			l.Truncate(h.acked[1])
			l.Compact(t.Context(), CompactOptions{Below: h.acked[1]})
			appendTo(l, 1)
		}
		l.Read(l.Start(), 1<<20, l.End())
		if flushed, err := s.db.AsyncFlush(); err == nil {
			until(t, "flush or failure", func() bool {
				select {
				case <-flushed:
					return true
				default:
					return s.Healthy() != nil
				}
			})
		}
	}
	s.Scrub(t.Context(), ScrubOptions{})
	healthy := s.Healthy()
	if healthy != nil && !errors.Is(healthy, ErrFailed) {
		t.Errorf("Healthy = %v, want ErrFailed", healthy)
	}
	if d := s.Damaged(); len(d) > 0 {
		t.Errorf("an error of the disk makes logs look damaged: %v", d)
	}
	if err := s.Close(); err == nil && healthy != nil {
		t.Error("a failed store closes without an error")
	}
	return h
}

// afterwards opens what a power cut leaves and looks for what was promised.
func afterwards(t *testing.T, files *vfs.MemFS, h history) {
	left := files.CrashClone(vfs.CrashCloneCfg{})
	s, err := Open(memOptions(left))
	if err != nil {
		t.Errorf("the store cannot be opened on a sound disk: %v", err)
		return
	}
	if h.opened && s.DirectoryUUID() != h.uuid {
		t.Errorf("another directory UUID than before")
	}
	for i, acked := range h.acked {
		l := mustLog(t, s, int32(i))
		if l.End() < acked {
			t.Errorf("log %d ends at %d, acknowledged %d", i, l.End(), acked)
		}
		if l.Damage() != nil {
			t.Errorf("log %d: %v", i, l.Damage())
		}
		if i == 1 && l.Start() < h.start {
			t.Errorf("log 1 starts at %d, deleted to %d", l.Start(), h.start)
		}
	}
	mustClose(t, s)
	if found, _ := faults(t, left); len(found) > 0 {
		t.Errorf("faults: %v", found)
	}
}

// TestEveryCallFails lets each call to the file system fail, once or from then on, in
// a run that uses them all: nothing is acknowledged that is not kept, nothing is
// corrupt, nothing hangs.
func TestEveryCallFails(t *testing.T) {
	step := int64(7)
	if os.Getenv("REGENCY_SOAK") != "" {
		step = 1
	}
	write := func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }
	for _, tc := range []struct {
		name   string
		sticky bool
		hit    func(errorfs.Op) bool
		err    error
	}{
		{"full disk", true, write, syscall.ENOSPC},
		{"one write", false, write, syscall.EIO},
		{"one read", false, func(op errorfs.Op) bool { return !write(op) }, errors.New("injected")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			runs, seen := 0, make(map[string]int)
			for at := int64(1); ; at += step {
				files := vfs.NewCrashableMem()
				f := &faulty{at: at, sticky: tc.sticky, hit: tc.hit, err: tc.err}
				var what string
				ok := t.Run(fmt.Sprint(at), func(t *testing.T) {
					h := useDisk(t, freshWAL{errorfs.Wrap(files, f)})
					if p := f.last.Load(); p != nil {
						what = *p
						t.Logf("failed: %s", what)
					}
					afterwards(t, files, h)
				})
				if !ok || what == "" {
					break
				}
				runs++
				seen[strings.Fields(what)[0]]++
			}
			t.Logf("%d runs, which failed at %v", runs, seen)
			if runs < 10 {
				t.Errorf("%d runs met a failing call, want more", runs)
			}
		})
	}
}

// TestFailureIsNoDamage lets the log of writes fail while a change is under way, and
// then has someone find bad bytes: the store has failed, its logs are as good as before.
func TestFailureIsNoDamage(t *testing.T) {
	o := memOptions(vfs.NewMem())
	reports := make(chan *DamageError, 2)
	o.OnDamage = func(d *DamageError) { reports <- d }
	s := mustOpen(t, o)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	err := l.change("test", func() error {
		s.failure.set(fmt.Errorf("sync: %w", syscall.EIO))
		b := s.db.NewBatch()
		defer b.Close()
		return s.commit(b, pebble.NoSync)
	})
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || isDamage(err) {
		t.Errorf("change = %v, damage: %v; want ErrFailed and the cause", err, isDamage(err))
	}
	if err := l.view("test", func() error { return at(0, ErrCorrupt) }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("view = %v, want ErrCorrupt", err)
	}
	if l.Damage() != nil || len(reports) > 0 {
		t.Errorf("Damage = %v, %d reports; want none: the disk has failed", l.Damage(), len(reports))
	}
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("Close = %v, want ErrFailed", err)
	}
}
