package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is what one measurement gave, by metric.
type sample map[string]float64

// Metrics, with their units.
const (
	mbps        = "MB/s"
	cpuPerGB    = "CPU-s/GB"
	writeAmp    = "disk writes ÷ data"
	p50, p99    = "p50 ms", "p99 ms"
	longest     = "max ms"
	highWater   = "memory MB"
	lastToFirst = "last ÷ first quarter"
	lastQuarter = "MB/s last quarter"
	spaceAmp    = "disk ÷ live"
	settled     = "settled s"
)

var metricOrder = []string{mbps, lastQuarter, lastToFirst, cpuPerGB, writeAmp, spaceAmp, settled, p50, p99, longest, highWater}

func (s sample) String() string {
	var parts []string
	for _, m := range metricOrder {
		if v, ok := s[m]; ok {
			parts = append(parts, fmt.Sprintf("%s %s", figure(v), m))
		}
	}
	return strings.Join(parts, ", ")
}

// figure has three digits.
func figure(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// latencies adds the distribution of ds, which it sorts.
func (s sample) latencies(ds []time.Duration) {
	if len(ds) == 0 {
		return
	}
	slices.Sort(ds)
	at := func(q float64) float64 { return ds[int(q*float64(len(ds)-1))].Seconds() * 1e3 }
	s[p50], s[p99], s[longest] = at(0.5), at(0.99), at(1)
}

// usage is what a process has used so far.
type usage struct {
	cpu     float64 // seconds
	written int64   // bytes, on their way to disk
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, written: u.written - before.written}
}

// use adds what was used for n bytes.
func (s sample) use(u usage, n int64) {
	s[cpuPerGB] = u.cpu / (float64(n) / 1e9)
	s[writeAmp] = float64(u.written) / float64(n)
}

// usageOf reads a process's use: user and system time in hundredths of a second.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields)+2)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	io, err3 := procFields(pid, "io")
	const ticks = 100 // USER_HZ, the same everywhere
	return usage{cpu: float64(user+system) / ticks, written: io["write_bytes"] - io["cancelled_write_bytes"]}, errors.Join(err1, err2, err3)
}

// ownUsage is usageOf this process, more exactly.
func ownUsage() (usage, error) {
	u, err := usageOf(os.Getpid())
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
	return u, err
}

// highWaterOf is the most memory that a process has had, in MB.
func highWaterOf(pid int) (float64, error) {
	f, err := procFields(pid, "status")
	return float64(f["VmHWM"]) * 1024 / 1e6, err
}

func procFields(pid int, file string) (map[string]int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			if v, err := strconv.ParseInt(words[0], 10, 64); err == nil {
				fields[name] = v
			}
		}
	}
	return fields, nil
}

// command is this program as a child of kind. It dies with this process.
func command(ctx context.Context, dir, kind string, load any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	params, err := json.Marshal(load)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "child", kind, string(params))
	own(cmd, dir)
	return cmd, nil
}

func own(cmd *exec.Cmd, dir string) {
	cmd.Dir = dir
	// Its own group, so that Ctrl-C reaches this process alone, which then ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// runChild runs a measurement in a process of its own and returns its sample.
func runChild(ctx context.Context, dir, profile, kind string, load any) (sample, error) {
	cmd, err := command(ctx, dir, kind, load)
	if err != nil {
		return nil, err
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), profileVariable+"="+profile)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	var s sample
	return s, json.Unmarshal(out.Bytes(), &s)
}

// profileVariable names the file that a measuring child writes its CPU profile to.
const profileVariable = "STORAGEBENCH_PROFILE"
