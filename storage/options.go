package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FlushMode says what an acknowledged append has survived.
type FlushMode int

const (
	// FlushSync: fsync before Pending.Wait returns. Survives power loss.
	FlushSync FlushMode = iota
	// FlushWritten: write(2) before Pending.Wait returns, as Kafka does by default.
	// Survives the death of the process, not that of the machine.
	FlushWritten
)

// String is the mode's name in configuration.
func (m FlushMode) String() string {
	switch m {
	case FlushSync:
		return "sync"
	case FlushWritten:
		return "written"
	}
	return fmt.Sprintf("FlushMode(%d)", int(m))
}

// ParseFlushMode is the inverse of String.
func ParseFlushMode(s string) (FlushMode, error) {
	for _, m := range []FlushMode{FlushSync, FlushWritten} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("flush mode %q is unknown: use %q or %q", s, FlushSync, FlushWritten)
}

// Options configures a store. Only Dir is required.
type Options struct {
	// Dir is the data directory; it is made if it does not exist. One process at a
	// time may have it open.
	Dir string
	// Flush is the promise behind an acknowledgement.
	Flush FlushMode
	// MemoryBudget bounds write buffers and caches together, in bytes; at least
	// MinMemoryBudget. 0 takes an eighth of the machine's memory, 128 MiB to 1 GiB.
	MemoryBudget int64
	// FS is the file system; nil is the operating system's. Tests crash it.
	FS vfs.FS
	// BootID names this boot of the operating system; empty reads it from the
	// kernel. In FlushWritten, a store that was not closed cleanly and finds another
	// boot may have lost acknowledged records, so it takes a new DirectoryUUID.
	BootID string
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// OnFatal is called once, from its own goroutine, when the store fails.
	OnFatal func(error)
	// OnDamage is called once for each log that turns out to be damaged, from its own
	// goroutine. Logs marked earlier are in Store.Damaged after opening.
	OnDamage func(*DamageError)
	// OnStall is called when Pebble starts (begin) and stops delaying writes. It
	// must not block and must not call the store.
	OnStall func(reason string, begin bool)
}

// MinMemoryBudget is the smallest MemoryBudget that works, in bytes.
const MinMemoryBudget = 32 << 20

// Validate names every faulty field.
func (o Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("storage options: Dir is empty: name the data directory"))
	}
	if o.Flush != FlushSync && o.Flush != FlushWritten {
		errs = append(errs, fmt.Errorf("storage options: Flush %d: use FlushSync or FlushWritten", o.Flush))
	}
	if o.MemoryBudget != 0 && o.MemoryBudget < MinMemoryBudget {
		errs = append(errs, fmt.Errorf("storage options: MemoryBudget %d: use 0 or at least %d bytes", o.MemoryBudget, int64(MinMemoryBudget)))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = defaultFS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MemoryBudget == 0 {
		o.MemoryBudget = defaultMemoryBudget()
	}
	if o.BootID == "" {
		o.BootID = kernelBootID()
	}
	return o
}

// kernelBootID is empty where the kernel does not tell; two empty ids are then
// taken for different boots, which is the safe side.
func kernelBootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Policy is the retention of one log. The zero value keeps everything.
type Policy struct {
	// MaxAge removes batches whose newest record is older. 0 is no limit.
	MaxAge time.Duration
	// MaxBytes removes the oldest batches while at least this much stays. 0 is no limit.
	MaxBytes int64
}

// LogInfo describes a log on disk.
type LogInfo struct {
	Topic         string
	TopicID       [16]byte
	Partition     int32
	Start         int64 // first offset that can be read
	End           int64 // the offset that the next record gets
	HighWatermark int64 // as last known, ≤ End
	Bytes         int64 // size of the batches from Start to End, within 64 KiB and a batch
}

func defaultMemoryBudget() int64 {
	return min(max(machineMemory()/8, 128<<20), 1<<30)
}
