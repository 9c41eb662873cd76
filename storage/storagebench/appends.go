package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

// appendLoad appends batches to random partitions from several goroutines, each of which waits for its acknowledgement: for a time after warming up, or so
// many bytes.
type appendLoad struct {
	Files     bool // else the store
	Sync      bool
	Appenders int
	Batch     int
	Warm, For time.Duration
	WarmBytes int64 // are appended too before measuring, unless that takes longer than warmLimit
	Bytes     int64
	Seed      uint64
}

const warmLimit = 20 * time.Second

type appendFunc func(partition int, batch []byte) error

// makeBatch is an uncompressed batch of records of about size bytes.
func makeBatch(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var records []record.Record
	for n := 0; n+recordBytes <= size; n += recordBytes {
		value := make([]byte, recordBytes)
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		records = append(records, record.Record{Timestamp: 1, Value: value})
	}
	return record.Build(record.NoProducer, records...)
}

func (l appendLoad) measure() (s sample, err error) {
	to, done, err := l.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	r := &appending{load: l, to: to, batch: makeBatch(l.Batch)}
	r.measuring.Store(l.Bytes > 0)
	s, err = r.run()
	if err != nil {
		return nil, err
	}
	s[highWater], err = highWaterOf(os.Getpid())
	return s, err
}

func (l appendLoad) open() (appendFunc, func() error, error) {
	if l.Files {
		files, err := openFiles(".")
		return func(i int, b []byte) error { return files[i].append(b, l.Sync) }, func() error { return nil }, err
	}
	mode := storage.FlushWritten
	if l.Sync {
		mode = storage.FlushSync
	}
	store, logs, err := openStore(mode)
	if err != nil {
		return nil, nil, err
	}
	return func(i int, b []byte) error {
		a, err := logs[i].AppendLeader(b, 0, time.Now())
		if err != nil {
			return err
		}
		return a.Pending.Wait()
	}, store.Close, nil
}

// openStore opens a store in the working directory, with the options of a broker, and one log per partition.
func openStore(mode storage.FlushMode) (*storage.Store, []*storage.Log, error) {
	dir, err := filepath.Abs("store")
	if err != nil {
		return nil, nil, err
	}
	s, err := storage.Open(storage.Options{Dir: dir, Flush: mode})
	if err != nil {
		return nil, nil, err
	}
	logs := make([]*storage.Log, partitions)
	for i := range logs {
		if logs[i], err = s.Log("bench", [16]byte{1}, int32(i)); err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
	}
	return s, logs, nil
}

// appending is an appendLoad at work.
type appending struct {
	load      appendLoad
	to        appendFunc
	batch     []byte
	measuring atomic.Bool
	ending    atomic.Bool
	warmed    atomic.Int64 // bytes acknowledged before measuring
	appended  atomic.Int64 // and while measuring

	mu struct {
		sync.Mutex
		took     []time.Duration
		quarters []time.Time // when each quarter of Bytes was done
		err      error
	}
}

func (r *appending) run() (sample, error) {
	var wg sync.WaitGroup
	before, began := usage{}, time.Now()
	if r.load.Bytes > 0 {
		before, _ = ownUsage()
	}
	for i := range r.load.Appenders {
		wg.Go(func() { r.appender(uint64(i)) })
	}
	stopProfile, err := startProfile()
	if err != nil {
		return nil, err
	}
	if r.load.Bytes == 0 {
		r.warm()
		before, err = ownUsage()
		began = time.Now()
		r.measuring.Store(true)
		time.Sleep(r.load.For)
	} else {
		wg.Wait()
	}
	took, n := time.Since(began), r.appended.Load()
	after, usageErr := ownUsage()
	r.ending.Store(true)
	wg.Wait()
	stopProfile()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := sample{mbps: float64(n) / took.Seconds() / 1e6}
	s.use(after.since(before), n)
	s.latencies(r.mu.took)
	if q := r.mu.quarters; len(q) == 4 {
		s[lastToFirst] = q[0].Sub(began).Seconds() / q[3].Sub(q[2]).Seconds()
		s[lastQuarter] = float64(r.load.Bytes) / 4 / q[3].Sub(q[2]).Seconds() / 1e6
	}
	return s, errors.Join(err, usageErr, r.mu.err)
}

// warm waits until the load has warmed up.
func (r *appending) warm() {
	began := time.Now()
	time.Sleep(r.load.Warm) // the load's length, not a synchronisation
	for r.warmed.Load() < r.load.WarmBytes && time.Since(began) < warmLimit {
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *appending) appender(n uint64) {
	rng := rand.New(rand.NewPCG(r.load.Seed, n))
	var took []time.Duration
	for !r.ending.Load() && !r.complete() {
		began := time.Now()
		err := r.to(rng.IntN(partitions), r.batch)
		if err != nil {
			r.mu.Lock()
			r.mu.err = errors.Join(r.mu.err, err)
			r.mu.Unlock()
			break
		}
		if r.measuring.Load() {
			took = append(took, time.Since(began))
			r.count()
		} else {
			r.warmed.Add(int64(len(r.batch)))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.took = append(r.mu.took, took...)
}

func (r *appending) complete() bool { return r.load.Bytes > 0 && r.appended.Load() >= r.load.Bytes }

func (r *appending) count() {
	n := r.appended.Add(int64(len(r.batch)))
	quarter := r.load.Bytes / 4
	if quarter == 0 || (n-int64(len(r.batch)))/quarter == n/quarter {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.quarters) < 4 {
		r.mu.quarters = append(r.mu.quarters, time.Now())
	}
}

// startProfile begins a CPU profile if the parent asks for one.
func startProfile() (stop func(), err error) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut says so when it is read
	}, nil
}
