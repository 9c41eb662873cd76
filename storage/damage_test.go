package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const damageLogs = 3

// damageStore makes a store that has every kind of file, with data in each, and
// returns its files. clean closes it; otherwise the process dies.
func damageStore(t *testing.T, clean bool) (files *vfs.MemFS, uuid string) {
	t.Helper()
	live := vfs.NewCrashableMem()
	s := mustOpen(t, memOptions(live))
	put := func(batches int) {
		for i := range int32(damageLogs) {
			l := mustLog(t, s, i)
			for range batches {
				mustAppend(t, l, int32(l.End()/100), numbered(l.End(), 100), numbered(l.End()+1, 3000))
			}
			l.SetHighWatermark(l.End())
		}
		s.checkpoint()
	}
	put(10)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	put(10)
	if clean {
		mustClose(t, s)
		return live.CrashClone(vfs.CrashCloneCfg{}), s.DirectoryUUID()
	}
	// An idle store probes its disk: so the end of the log is known to be synced.
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	files = live.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, s)
	return files, s.DirectoryUUID()
}

// fileNames lists the files of the store.
func fileNames(t *testing.T, files vfs.FS) (names []string) {
	t.Helper()
	for _, dir := range []string{"data", "data/wal"} {
		list, err := files.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			if info, err := files.Stat(dir + "/" + n); err == nil && !info.IsDir() {
				names = append(names, dir+"/"+n)
			}
		}
	}
	slices.Sort(names)
	return names
}

func readFile(t *testing.T, files vfs.FS, name string) []byte {
	t.Helper()
	f, err := files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, files vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// outcome opens a damaged store and says what is the case: it must be one of
// "whole", "damaged" with every missing offset in a log that is marked, and
// "quarantined".
func outcome(t *testing.T, files vfs.FS, uuid string) string {
	t.Helper()
	s, err := OpenOrQuarantine(memOptions(files))
	if err != nil {
		t.Errorf("not opened: %v", err)
		return "error"
	}
	defer s.Close()
	if s.DirectoryUUID() != uuid {
		if n := len(s.Logs()); n != 0 {
			t.Errorf("a new UUID, but %d logs", n)
		}
		return "quarantined"
	}
	found := "whole"
	for i := range int32(damageLogs) {
		l := mustLog(t, s, i)
		err := verifyLog(l, 40)
		var d *DamageError
		switch {
		case err == nil:
		case errors.As(err, &d) && errors.Is(err, ErrCorrupt) && d.Partition == i && l.Damage() != nil:
			found = "damaged"
			checkDamaged(t, s, l, d)
		default:
			t.Errorf("log %d: silently wrong: %v", i, err)
		}
	}
	return found
}

// checkDamaged checks that what lies before the damage is readable, that appends are
// refused, and that the log can be rebuilt while the store is open.
func checkDamaged(t *testing.T, s *Store, l *Log, d *DamageError) {
	t.Helper()
	if d.Offset < 0 || d.Offset > 40 {
		t.Errorf("damage at offset %d, want one of the log's", d.Offset)
	}
	for from := l.Start(); from < d.Offset; {
		c, err := l.Read(from, 1, d.Offset)
		if err != nil {
			t.Errorf("Read(%d) before the damage at %d: %v", from, d.Offset, err)
			break
		}
		if c.Next == from {
			break
		}
		from = c.Next
	}
	if _, err := l.AppendLeader(batchOf(1, 1, 0), 100, testTime); !errors.As(err, &d) {
		t.Errorf("append to a damaged log = %v, want a DamageError", err)
	}
	if !slices.ContainsFunc(s.Damaged(), func(x *DamageError) bool { return x.Partition == d.Partition }) {
		t.Errorf("Damaged = %v, want partition %d", s.Damaged(), d.Partition)
	}
	if err := l.Reset(0); err != nil {
		t.Errorf("Reset of a damaged log: %v", err)
		return
	}
	for l.End() < 40 {
		b := numbered(l.End(), 3000)
		if _, err := l.AppendLeader(b, int32(l.End()/100), testTime); err != nil {
			t.Errorf("append after Reset: %v", err)
			return
		}
	}
	if err := verifyLog(l, 40); err != nil || l.Damage() != nil {
		t.Errorf("the rebuilt log: %v, damage %v", err, l.Damage())
	}
}

// kindOf is a file's kind: its name without numbers.
func kindOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, filepath.Base(name))
}

// TestFlippedBits flips a bit in every kind of file, at many places.
func TestFlippedBits(t *testing.T) {
	flips := 12
	if os.Getenv("REGENCY_SOAK") != "" {
		flips = 400
	}
	for _, clean := range []bool{true, false} {
		base, uuid := damageStore(t, clean)
		rng := rand.New(rand.NewPCG(7, 7))
		found := make(map[string]int)
		for _, name := range fileNames(t, base) {
			whole := readFile(t, base, name)
			for i := range flips {
				if len(whole) == 0 {
					break
				}
				at := rng.IntN(len(whole))
				switch i { // headers and footers are where it matters
				case 0:
					at = 0
				case 1:
					at = len(whole) - 1
				}
				b := slices.Clone(whole)
				b[at] ^= 1 << rng.IntN(8)
				files := base.CrashClone(vfs.CrashCloneCfg{})
				writeFile(t, files, name, b)
				got := "?"
				ok := t.Run(fmt.Sprintf("clean=%v/%s/%d", clean, filepath.Base(name), at), func(t *testing.T) {
					got = outcome(t, files, uuid)
				})
				if ok {
					found[kindOf(name)+" "+got]++
				}
			}
		}
		t.Logf("clean close %v: %v", clean, found)
		for _, want := range []string{".blob damaged", "store.json quarantined", "MANIFEST- quarantined", ".sst quarantined", ".log whole", ".log quarantined"} {
			if found[want] == 0 {
				t.Errorf("clean close %v: no flip was %q", clean, want)
			}
		}
	}
}

// TestRemovedFiles removes each file in turn, and all of them.
func TestRemovedFiles(t *testing.T) {
	for _, clean := range []bool{true, false} {
		base, uuid := damageStore(t, clean)
		names := fileNames(t, base)
		for _, name := range names {
			if !clean && name == names[len(names)-1] {
				continue // the newest log: nothing tells that it was there before the crash
			}
			t.Run(fmt.Sprintf("clean=%v/%s", clean, filepath.Base(name)), func(t *testing.T) {
				files := base.CrashClone(vfs.CrashCloneCfg{})
				if err := files.Remove(name); err != nil {
					t.Fatal(err)
				}
				t.Log(outcome(t, files, uuid))
			})
		}
		t.Run(fmt.Sprintf("clean=%v/all", clean), func(t *testing.T) {
			files := base.CrashClone(vfs.CrashCloneCfg{})
			for _, name := range fileNames(t, base) {
				if err := files.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			if got := outcome(t, files, uuid); got != "quarantined" {
				t.Errorf("a wiped directory is %s, want another UUID", got)
			}
		})
	}
}

// damageValue flips a bit of the batch that ends at offset, on disk, in a store whose
// data is flushed.
func damageValue(t *testing.T, files *vfs.MemFS, b []byte) {
	t.Helper()
	for _, name := range fileNames(t, files) {
		if !strings.HasSuffix(name, ".blob") {
			continue
		}
		file := readFile(t, files, name)
		if at := bytes.Index(file, b); at >= 0 {
			file[at+len(b)/2] ^= 4
			writeFile(t, files, name, file)
			return
		}
	}
	t.Fatal("the batch is in no blob file")
}

// damagedStore is an open store of damageLogs logs of 40 offsets each, of which the
// batch at offset 33 of log 1 is damaged on disk.
func damagedStore(t *testing.T, o func(*Options)) *Store {
	t.Helper()
	files := vfs.NewCrashableMem()
	opts := memOptions(files)
	s := mustOpen(t, opts)
	for i := range int32(damageLogs) {
		l := mustLog(t, s, i)
		for l.End() < 40 {
			// Other bytes in each log, and blocks of their own.
			mustAppend(t, l, 0, numbered(l.End(), 300_000+int(i)))
		}
		l.SetHighWatermark(40)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	c, err := mustLog(t, s, 1).Read(33, 1, 40)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	damageValue(t, files, c.Bytes)
	if o != nil {
		o(&opts)
	}
	s = mustOpen(t, opts)
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

// TestScrub finds a damaged value that nobody read, reports it once, and remembers it.
func TestScrub(t *testing.T) {
	reports := make(chan *DamageError, 10)
	s := damagedStore(t, func(o *Options) { o.OnDamage = func(d *DamageError) { reports <- d } })
	if len(s.Damaged()) != 0 {
		t.Fatalf("Damaged = %v after a clean close, want nothing read", s.Damaged())
	}
	var last ScrubProgress
	p, err := s.Scrub(t.Context(), ScrubOptions{Progress: func(p ScrubProgress) { last = p }})
	var d *DamageError
	if !errors.As(err, &d) || d.Partition != 1 || d.Offset != 33 || d.Topic != "a" || d.LogID != mustLog(t, s, 1).id {
		t.Fatalf("Scrub = %v, want a DamageError for a-1 at offset 33", err)
	}
	if got := <-reports; got != d || p.Logs != damageLogs || p.Batches != 40+33+40 || last.Batches != p.Batches || last.Bytes < 30<<20 {
		t.Errorf("reported %v, progress %+v; want the same, 3 logs and 113 batches", got, p)
	}
	l := mustLog(t, s, 1)
	if c, err := l.Read(32, 1, 40); err != nil || c.Next != 33 {
		t.Errorf("Read(32) = next %d, %v; want 33", c.Next, err)
	}
	if c, err := l.Read(34, 1, 40); err != nil || c.Next != 35 {
		t.Errorf("Read(34) behind the damage = next %d, %v; want 35", c.Next, err)
	}
	if _, err := mustLog(t, s, 0).AppendLeader(batchOf(1, 1, 0), 0, testTime); err != nil {
		t.Errorf("append to a sound log beside a damaged one: %v", err)
	}
	for what, call := range map[string]func() error{
		"Truncate":  func() error { _, err := l.Truncate(40); return err },
		"SetStart":  func() error { return l.SetStart(3) },
		"Append":    func() error { _, err := l.AppendFollower(numbered(40, 10)); return err },
		"Compact":   func() error { _, err := l.Compact(t.Context(), CompactOptions{Below: 40}); return err },
		"new epoch": func() error { return l.AssignEpoch(7, 40) },
	} {
		if err := call(); !errors.As(err, &d) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s of a damaged log = %v, want a DamageError", what, err)
		}
	}
	select {
	case d := <-reports:
		t.Errorf("%v reported twice", d)
	default:
	}
}

// TestDamageOutlivesARestart also checks that Reset ends it for good.
func TestDamageOutlivesARestart(t *testing.T) {
	files := vfs.NewMem()
	s := mustOpen(t, memOptions(files))
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	if err := l.view("test", func() error { return at(0, ErrCorrupt) }); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		mustClose(t, s)
		s = mustOpen(t, memOptions(files))
		l = mustLog(t, s, 0)
		if got := l.Damage() != nil; got != want {
			t.Errorf("damaged after a restart: %v, want %v", got, want)
		}
		if err := l.Reset(5); err != nil || l.Damage() != nil {
			t.Errorf("Reset = %v, damage %v", err, l.Damage())
		}
	}
	mustClose(t, s)
}

// TestRecoveryScrub checks that opening after a crash looks at what was written last.
func TestRecoveryScrub(t *testing.T) {
	s := damagedStore(t, func(o *Options) {
		m, err := readMeta(o.FS, o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		m.Clean, m.Mark = false, ""
		if err := m.write(o.FS, o.Dir); err != nil {
			t.Fatal(err)
		}
	})
	if d := s.Damaged(); len(d) != 1 || d[0].Partition != 1 || d[0].Offset != 33 {
		t.Errorf("Damaged = %v after opening, want log 1 at offset 33", d)
	}
}

// TestResetDropsDamage holds a Reset in its commit and lets readers find damage from
// before, during and after the commit in the old content: the fresh log is sound.
func TestResetDropsDamage(t *testing.T) {
	fs := &gateFS{FS: vfs.NewMem()}
	o := memOptions(nil)
	o.FS, o.Flush = fs, FlushSync
	reports := make(chan *DamageError, 9)
	o.OnDamage = func(d *DamageError) { reports <- d }
	s := mustOpen(t, o)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	var readers sync.WaitGroup
	reader := func(began chan<- struct{}, until <-chan struct{}) {
		readers.Go(func() {
			err := l.view("test", func() error {
				close(began)
				<-until
				return at(0, ErrCorrupt)
			})
			if !errors.Is(err, errOvertaken) {
				t.Errorf("view = %v, want errOvertaken", err)
			}
		})
	}
	before, during, after := make(chan struct{}), make(chan struct{}), make(chan struct{})
	reader(before, after)
	<-before
	generation := l.generation()
	fs.gate.Lock()
	reset := make(chan error, 1)
	go func() { reset <- l.Reset(5) }()
	until(t, "Reset begins", func() bool { return l.generation() != generation })
	reader(during, after)
	<-during
	if err := l.view("test", func() error { return at(0, ErrCorrupt) }); !errors.Is(err, errOvertaken) {
		t.Errorf("view = %v during Reset, want errOvertaken", err)
	}
	fs.gate.Unlock()
	if err := <-reset; err != nil {
		t.Fatal(err)
	}
	close(after)
	readers.Wait()
	for range 2 {
		if l.Damage() != nil || l.End() != 5 {
			t.Errorf("after Reset: damage %v, end %d; want none, 5", l.Damage(), l.End())
		}
		mustClose(t, s)
		s = mustOpen(t, o)
		l = mustLog(t, s, 0)
	}
	mustClose(t, s)
	if len(reports) > 0 {
		t.Errorf("reported: %v", <-reports)
	}
}

// TestDamageMarkWaitsForWriter finds damage while the log is being changed: the mark is
// seen at once, and stored when the change is done, unless the log is gone by then.
func TestDamageMarkWaitsForWriter(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	marked := func() bool {
		_, closer, err := s.db.Get(prefixKey(l.id, kindDamage))
		if err == nil {
			err = closer.Close()
		}
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, kept := range []bool{true, false} {
		done := make(chan error, 1)
		l.write.Lock()
		go func() { done <- l.view("test", func() error { return at(0, ErrCorrupt) }) }()
		until(t, "damage is seen", func() bool { return l.Damage() != nil })
		if marked() {
			t.Error("the mark is stored while the log is being changed")
		}
		if !kept {
			l.mu.Lock()
			l.mu.damage = nil
			l.mu.Unlock()
		}
		l.write.Unlock()
		if err := <-done; !errors.Is(err, ErrCorrupt) {
			t.Errorf("view = %v, want ErrCorrupt", err)
		}
		if marked() != kept {
			t.Errorf("mark stored: %v, want %v", !kept, kept)
		}
		if err := l.Reset(0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamageBesideAppends is for the race detector.
func TestDamageBesideAppends(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	for range 20 {
		if err := l.Reset(0); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 10 {
				l.AppendLeader(batchOf(1, 10, 0), 0, testTime) // refused once it is damaged
			}
		})
		wg.Go(func() { _ = l.view("test", func() error { return ErrCorrupt }) })
		wg.Wait()
		if l.Damage() == nil {
			t.Error("no damage noted")
		}
	}
}
