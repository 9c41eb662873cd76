package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend appends 16 KB batches from several goroutines, each to its own
// log, each waiting for its acknowledgement. The file variants are what a log of
// one file per partition would do: the yardstick in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{16, 64} {
		b.Run(fmt.Sprintf("appenders=%d", n), func(b *testing.B) { benchAppenders(b, n) })
	}
}

func benchAppenders(b *testing.B, appenders int) {
	batch := batchOf(16, 1000, 1000)
	for _, mode := range []FlushMode{FlushSync, FlushWritten} {
		b.Run("store="+mode.String(), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir(), Flush: mode, MemoryBudget: 512 << 20})
			defer mustClose(b, s)
			benchAppend(b, appenders, len(batch), func(i int) func() error {
				l := mustLog(b, s, int32(i))
				return func() error {
					a, err := l.AppendLeader(batch, 0, time.UnixMilli(0))
					if err != nil {
						return err
					}
					return a.Pending.Wait()
				}
			})
		})
	}
	for _, mode := range []FlushMode{FlushSync, FlushWritten} {
		b.Run("files="+mode.String(), func(b *testing.B) {
			dir := b.TempDir()
			benchAppend(b, appenders, len(batch), func(i int) func() error {
				f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { f.Close() })
				return func() error {
					if _, err := f.Write(batch); err != nil || mode == FlushWritten {
						return err
					}
					return syscall.Fdatasync(int(f.Fd()))
				}
			})
		})
	}
}

// benchAppend shares b.N appends among the appenders.
func benchAppend(b *testing.B, appenders, size int, appender func(int) func() error) {
	do := make([]func() error, appenders)
	for i := range do {
		do[i] = appender(i)
	}
	b.SetBytes(int64(size))
	cpu := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, do := range do {
		wg.Go(func() {
			for n := i; n < b.N; n += appenders {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	gb := float64(b.N) * float64(size) / 1e9
	b.ReportMetric((cpuTime()-cpu).Seconds()/gb, "cpu-s/GB")
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads 1 MB at a time: the newest batches, which are in memory, and
// all batches of a log that is larger than what is kept in memory.
func BenchmarkRead(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir(), Flush: FlushWritten, MemoryBudget: 64 << 20})
	defer mustClose(b, s)
	l := mustLog(b, s, 0)
	batch := batchOf(16, 1000, 1000)
	for l.End() < 16*16*1024 {
		mustAppend(b, l, 0, batch)
	}
	tail := l.End() - 16*64
	for name, start := range map[string]int64{"tail": tail, "cold": 0} {
		b.Run(name, func(b *testing.B) {
			from := start
			for b.Loop() {
				c, err := l.Read(from, 1<<20, l.End())
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(c.Bytes)))
				if from = c.Next; l.End()-from < 16*64 {
					from = start
				}
			}
		})
	}
}
