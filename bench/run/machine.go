package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/regency-project/regency/bench/plan"
)

// ErrMachine is wrapped when this machine cannot hold the run. Nothing was started.
var ErrMachine = errors.New("this machine cannot hold the run")

// machine is what a run asks of where it runs.
type machine struct {
	cores  int
	load   float64 // of the last minute; negative: unknown
	free   int64   // bytes on the disk of the results; negative: unknown
	files  uint64  // descriptors that a process may have
	memory int64   // bytes; 0: unknown
}

func thisMachine(dir string) machine {
	m := machine{cores: runtime.NumCPU(), load: load(), free: -1, memory: memory()}
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) { // the results' directory may not be there yet
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil {
			m.free = int64(fs.Bavail) * int64(fs.Bsize)
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.files = limit.Max // programs in Go raise their limit to this by themselves
	}
	return m
}

// load is the load average of one minute; -1 where the system does not tell it in a file.
func load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(data), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}

// check says what is wrong with the machine for a plan: what makes the run impossible as an error, what makes its figures doubtful as warnings.
func (m machine) check(e estimator, p plan.Plan) (warnings []string, err error) {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrMachine, fmt.Sprintf(format, args...)))
	}
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if need := e.disk(p); m.free >= 0 && m.free < need {
		refuse("%s of disk are free and %s may be needed: free some, or give --out on another disk", gigabytes(m.free), gigabytes(need))
	}
	if need := e.files(p); m.files > 0 && m.files < uint64(need) {
		refuse("a process may open %d files and a broker may need %d: raise the limit (ulimit -Hn %d), or take fewer partitions", m.files, need, need)
	}
	if m.cores < 2 {
		warn("there is 1 core: brokers, coordination service and harness will wait for each other; use 2 or more for figures that mean something")
	}
	if m.memory > 0 && m.memory < 3<<30 {
		warn("there are %s of memory and saturated brokers take about 4 GB: leave out throughput scenarios", gigabytes(m.memory))
	}
	if m.load > float64(m.cores) {
		warn("the machine is busy: load %.1f on %d cores. Trials will be slow or invalid: stop what else runs (`top` shows it), or wait", m.load, m.cores)
	}
	return warnings, errors.Join(errs...)
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
