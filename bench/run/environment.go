package run

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/regency-project/regency/bench/metrics"
)

// fsyncs is how often the disk is asked before the run: enough for a 99th percentile, under a second on an SSD.
const fsyncs = 200

// environment describes this machine and the disk under dir. What a system does not tell stays empty.
func environment(dir string) (metrics.Environment, error) {
	m := metrics.Manifest{Environment: hostEnvironment()}
	err := measureDisk(&m, dir)
	return m.Environment, err
}

func hostEnvironment() metrics.Environment {
	return metrics.Environment{
		Host: host(), Kernel: kernel(), CPU: firstValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), MemoryB: memory(), Go: runtime.Version(),
	}
}

// measureDisk adds what is measured on the disk of the clusters' data.
func measureDisk(m *metrics.Manifest, work string) error {
	m.Environment.Filesystem = filesystem(work)
	var err error
	m.Environment.Fsync, err = probeFsync(filepath.Join(work, "fsync-probe"))
	return err
}

// hostID tells this host from others without naming it: a hash of the system's own id, or else of its name.
func hostID() string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(id) == 0 {
		name, err := os.Hostname()
		if err != nil {
			return ""
		}
		id = []byte(name)
	}
	sum := sha256.Sum256(append([]byte("regency bench "), id...))
	return hex.EncodeToString(sum[:6])
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// firstValue reads "key : value" lines.
func firstValue(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func memory() int64 {
	kib, err := strconv.ParseInt(strings.TrimSuffix(firstValue("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// filesystem is the type of the mount that holds dir: the longest mount point that is a prefix of it.
func filesystem(dir string) string {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	type mount struct{ point, kind string }
	var mounts []mount
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 3 && (f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/")) {
			mounts = append(mounts, mount{f[1], f[2]})
		}
	}
	if len(mounts) == 0 {
		return ""
	}
	return slices.MaxFunc(mounts, func(a, b mount) int { return cmp.Compare(len(a.point), len(b.point)) }).kind
}

// probeFsync measures write(4 KiB) + fsync, as a log would do it.
func probeFsync(path string) (*metrics.Fsync, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("probe fsync: %w", err)
	}
	defer os.Remove(path)
	defer f.Close()
	page := make([]byte, 4096)
	times := make([]time.Duration, fsyncs)
	for i := range times {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, fmt.Errorf("probe fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("probe fsync: %w", err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &metrics.Fsync{N: fsyncs, P50Ms: ms(times[fsyncs/2]), P99Ms: ms(times[fsyncs*99/100]), MaxMs: ms(times[fsyncs-1])}, nil
}
