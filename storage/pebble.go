package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	memTables       = 4 // one being filled, the others being flushed
	maxMemTable     = 64 << 20
	walBytesPerSync = 8 << 20
	blobRewriteAge  = 2 * time.Minute
)

// pebbleOptions are chosen for large values that are written once, read soon and
// deleted in ranges; the project's storage notes hold the measurements. Values lie
// apart from keys in blob files, so that compactions move keys only: without that
// the store rewrites every batch several times. MaxBlobReferenceDepth is out of
// reach because reaching it makes compactions rewrite values after all.
func pebbleOptions(o Options, files vfs.FS, logger pebble.Logger, events *pebble.EventListener) *pebble.Options {
	po := &pebble.Options{
		FS:                          files,
		WALDir:                      pebble.MakeStoreRelativePath(files, walDirName),
		Logger:                      logger,
		EventListener:               events,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                uint64(min(o.MemoryBudget/8, maxMemTable)),
		MemTableStopWritesThreshold: memTables,
		CacheSize:                   o.MemoryBudget / 8,
		BytesPerSync:                8 << 20,
		FlushSplitBytes:             256 << 20,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       1000,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	if o.Flush == FlushWritten {
		// Nothing else asks the kernel to write the log out, and the sync at rotation
		// would find a whole log file dirty.
		po.WALBytesPerSync = walBytesPerSync
	}
	for i := range po.TargetFileSizes {
		po.TargetFileSizes[i] = 64 << 20
		po.Levels[i].BlockSize = 256 << 10
	}
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	po.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           256,
			MaxBlobReferenceDepth: 1 << 20,
			RewriteMinimumAge:     blobRewriteAge,
			TargetGarbageRatio:    0.3,
		}
	}
	po.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true}, nil, nil
	}
	return po
}

// pebbleEvents turns what Pebble reports into log lines and stall callbacks.
func pebbleEvents(log *slog.Logger, failed *failure, onStall func(string, bool)) *pebble.EventListener {
	var reason atomic.Pointer[string]
	return &pebble.EventListener{
		BackgroundError: func(err error) { log.Warn("storage background error", "error", err) },
		// Pebble tries a failed flush again for ever, while writes come to a halt. A table
		// that cannot be written is a disk that cannot be written.
		FlushEnd: func(i pebble.FlushInfo) {
			// Others are no errors of the disk: a flush may also find nothing to write.
			if isErrno(i.Err) {
				failed.set(fmt.Errorf("flush: %w", i.Err))
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			log.Error("storage corruption found", "path", i.Path, "error", i.Details)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			log.Warn("storage delays writes", "reason", i.Reason)
			reason.Store(&i.Reason)
			if onStall != nil {
				onStall(i.Reason, true)
			}
		},
		WriteStallEnd: func() {
			log.Info("storage writes again")
			if r := reason.Load(); onStall != nil && r != nil {
				onStall(*r, false)
			}
		},
	}
}

// pebbleLogger is Pebble's log. Fatalf means that a commit or the manifest failed;
// Pebble expects it not to return, but goes on with an error when it does.
type pebbleLogger struct {
	log     *slog.Logger
	failure *failure
}

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("storage engine", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	if len(args) == 1 {
		if _, ok := args[0].(error); ok { // keep the chain of the error
			format = strings.NewReplacer("%v", "%w", "%s", "%w").Replace(format)
		}
	}
	l.failure.set(fmt.Errorf(format, args...))
}

// isErrno tells the operating system's errors.
func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// openPebble translates the ways in which Pebble refuses a directory. It reports
// some damage by panicking.
func openPebble(dir string, po *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error: // of the disk: what lies on it is not to blame
			if db, err = nil, r; !isErrno(r) {
				err = fmt.Errorf("%w: %w", ErrCorrupt, r)
			}
		default:
			db, err = nil, fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	db, err = pebble.Open(dir, po)
	switch {
	case err == nil:
		if err := checkBlobFiles(db, po.FS, dir); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	case errors.Is(err, ErrCorrupt):
		return nil, err
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist),
		errors.Is(err, pebble.ErrDBDoesNotExist), errors.Is(err, pebble.ErrDBNotPristine): // a marker is gone
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil, err
}

// checkBlobFiles counts the blob files: Pebble looks for its tables when it opens, but
// meets a missing blob file with a panic when it needs it.
func checkBlobFiles(db *pebble.DB, files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	var found uint64
	for _, n := range names {
		if strings.HasSuffix(n, ".blob") {
			found++
		}
	}
	if live := db.Metrics().BlobFiles.LiveCount; found < live {
		return fmt.Errorf("%d of %d blob files are missing: %w", live-found, live, ErrCorrupt)
	}
	return nil
}
